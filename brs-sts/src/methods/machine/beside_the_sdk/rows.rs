//! The tables: an environment, and what each client does in it.

use super::{REFUSES, REWRITE};

type Environment = &'static [(&'static str, &'static str)];

/// An environment, what each of them does in it, and why they differ. `FILE` in a value is a file
/// with that content.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) environment: Environment,
    pub(super) file: &'static [u8],
    pub(super) sdk: &'static str,
    pub(super) brs: &'static str,
    pub(super) why: &'static str,
}

const fn same(environment: Environment, both: &'static str) -> Row {
    differ(environment, both, both, "")
}

const fn differ(
    environment: Environment,
    sdk: &'static str,
    brs: &'static str,
    why: &'static str,
) -> Row {
    Row {
        environment,
        file: b"",
        sdk,
        brs,
        why,
    }
}

const fn with(file: &'static [u8], row: Row) -> Row {
    Row { file, ..row }
}

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const LOOPBACK: (&str, &str) = (FULL, "http://127.0.0.1/get");
const GET: &str = "http://127.0.0.1/get";
const AS_ONE: &str = "http://127.0.0.1/get as one";
const AS_TWO: &str = "http://127.0.0.1/get as two";
const AS_NOBODY: &str = "http://127.0.0.1/get as ";
const EMPTY: &str = "an empty variable counts as absent";
const BLANKS: &str = "white space around a value does not count";
const SHAPE: &str = "what is not such a URI is an error, and no other address is made of it";
const BREAK: &str = "a file may end with a line break";
const WRITTEN: &str = "an empty file is one that is being written";

pub(super) const CONTAINER: &[Row] = &[
    // Where.
    same(&[], REFUSES),
    same(
        &[(RELATIVE, "/v2/credentials/7?a=b"), LOOPBACK],
        "http://169.254.170.2/v2/credentials/7?a=b",
    ),
    same(&[LOOPBACK], GET),
    differ(&[(RELATIVE, ""), LOOPBACK], REFUSES, GET, EMPTY),
    differ(&[(RELATIVE, " "), LOOPBACK], REFUSES, GET, BLANKS),
    same(&[(RELATIVE, "/a b")], REFUSES),
    differ(
        &[(RELATIVE, "credentials")],
        "http://169.254.170.2/",
        REFUSES,
        SHAPE,
    ),
    differ(
        &[(RELATIVE, "http://elsewhere.example/a")],
        "http://169.254.170.2/a",
        REFUSES,
        SHAPE,
    ),
    // Which hosts.
    same(&[(FULL, "")], REFUSES),
    same(&[(FULL, "/get")], REFUSES),
    same(&[(FULL, "127.0.0.1/get")], REFUSES),
    same(
        &[(FULL, "http://127.9.9.9:8080/get")],
        "http://127.9.9.9:8080/get",
    ),
    same(&[(FULL, "http://[::1]/get")], "http://[::1]/get"),
    same(
        &[(FULL, "http://localhost:1234/get")],
        "http://localhost:1234/get",
    ),
    same(
        &[(FULL, "http://169.254.170.2/v2")],
        "http://169.254.170.2/v2",
    ),
    same(
        &[(FULL, "http://169.254.170.23/v1")],
        "http://169.254.170.23/v1",
    ),
    same(
        &[(FULL, "http://[fd00:ec2::23]/v1")],
        "http://[fd00:ec2::23]/v1",
    ),
    same(
        &[(FULL, "https://a.example/get?a=b")],
        "https://a.example/get?a=b",
    ),
    same(
        &[(FULL, "https://192.168.1.1/get")],
        "https://192.168.1.1/get",
    ),
    same(&[(FULL, "http://192.168.1.1/get")], REFUSES),
    same(&[(FULL, "http://169.254.170.3/v2")], REFUSES),
    same(&[(FULL, "http://169.254.169.254/v2")], REFUSES),
    same(&[(FULL, "http://[fd00:ec2::24]/v1")], REFUSES),
    same(&[(FULL, "http://[::ffff:127.0.0.1]/get")], REFUSES),
    same(&[(FULL, "http://0.0.0.0/get")], REFUSES),
    same(&[(FULL, "http://no-such-host.invalid/get")], REFUSES),
    differ(
        &[(FULL, "ftp://127.0.0.1/get")],
        "ftp://127.0.0.1/get",
        REFUSES,
        SHAPE,
    ),
    differ(
        &[(FULL, "http://me:secret@127.0.0.1/get")],
        "http://me:secret@127.0.0.1/get",
        REFUSES,
        SHAPE,
    ),
    // With which token.
    same(&[LOOPBACK, (TOKEN, "one")], AS_ONE),
    with(
        b"two",
        same(&[LOOPBACK, (TOKEN, "one"), (TOKEN_FILE, "FILE")], AS_TWO),
    ),
    with(
        b"two",
        same(
            &[LOOPBACK, (TOKEN_FILE, "FILE"), (REWRITE, "FILE")],
            "http://127.0.0.1/get as two, http://127.0.0.1/get as new",
        ),
    ),
    same(
        &[LOOPBACK, (TOKEN, "one"), (TOKEN_FILE, "/nonexistent")],
        REFUSES,
    ),
    with(b"o\nne", same(&[LOOPBACK, (TOKEN_FILE, "FILE")], REFUSES)),
    same(&[LOOPBACK, (TOKEN, "o\nne")], REFUSES),
    with(
        b"two\n",
        differ(&[LOOPBACK, (TOKEN_FILE, "FILE")], REFUSES, AS_TWO, BREAK),
    ),
    differ(
        &[LOOPBACK, (TOKEN, "one"), (TOKEN_FILE, "")],
        REFUSES,
        AS_ONE,
        EMPTY,
    ),
    differ(&[LOOPBACK, (TOKEN, "")], AS_NOBODY, GET, EMPTY),
    differ(
        &[LOOPBACK, (TOKEN, " one ")],
        "http://127.0.0.1/get as  one ",
        AS_ONE,
        BLANKS,
    ),
    differ(
        &[LOOPBACK, (TOKEN_FILE, "FILE")],
        AS_NOBODY,
        REFUSES,
        WRITTEN,
    ),
];

const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
const CONFIG: (&str, &str) = ("AWS_CONFIG_FILE", "FILE");
const USUAL: &str = "http://169.254.169.254";
const SIXTH: &str = "http://[fd00:ec2::254]";
const OTHER: &str = "http://127.0.0.1:1338";
const WRONG: &str = "a value that is not understood is an error";

pub(super) const IMDS: &[Row] = &[
    same(&[], USUAL),
    same(&[(ENDPOINT, OTHER)], OTHER),
    same(&[(ENDPOINT, "http://127.0.0.1:1338/")], OTHER),
    same(&[(MODE, "IPv4")], USUAL),
    same(&[(MODE, "ipv6")], SIXTH),
    same(&[(ENDPOINT, OTHER), (MODE, "IPv6")], OTHER),
    same(&[(MODE, "IPv5")], REFUSES),
    differ(&[(ENDPOINT, "")], REFUSES, USUAL, EMPTY),
    differ(&[(MODE, "")], REFUSES, USUAL, EMPTY),
    same(&[(ENDPOINT, "169.254.169.254")], REFUSES),
    same(&[(DISABLED, "true")], REFUSES),
    same(&[(DISABLED, "TRUE")], REFUSES),
    same(&[(DISABLED, "false")], USUAL),
    same(&[(DISABLED, "")], USUAL),
    differ(&[(DISABLED, "1")], USUAL, REFUSES, WRONG),
    differ(&[(DISABLED, " true ")], USUAL, REFUSES, BLANKS),
    with(
        b"[default]\nec2_metadata_service_endpoint_mode = IPv6\n",
        same(&[CONFIG], SIXTH),
    ),
    with(
        b"[default]\nec2_metadata_service_endpoint = http://127.0.0.1:2\n",
        same(&[CONFIG, (ENDPOINT, OTHER)], OTHER),
    ),
];
