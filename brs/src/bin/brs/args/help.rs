//! What `--help` says after the options: the rest of the manual page.

pub(super) const AFTER_HELP: &str = "\
CONFIGURATION
  A TOML file with one table a session. `method` says how the session gets its credentials (see
  `brs methods`); the other keys are the method's parameters, and `base` names a session of the
  file whose credentials the method uses. Only the file's owner and root may have write access.

    [sessions.hub]
    method = \"sts\"
    role_arn = \"arn:aws:iam::111111111111:role/hub\"
    region = \"eu-west-1\"

    [sessions.app]
    method = \"sts\"
    role_arn = \"arn:aws:iam::222222222222:role/app\"
    base = \"hub\"

  [serve] configures `brs serve`: `listen`, `answer_within`, `admin`, `imds`, `assume`, and one
  table a consumer, [serve.consumers.NAME], with `sessions`, `roles` or `all`, and `token_file`.

EXAMPLES
  A profile whose credentials come from a session, in ~/.aws/config:

    [profile app]
    credential_process = brs credential-process app

  A program with the credentials of a session:

    brs exec app -- aws s3 ls

  Credentials in the current shell:

    eval \"$(brs credential-process app --format env)\"

EXIT STATUS
  0      success
  1      the credentials are not available
  2      the command line or the configuration is wrong
  3      a person is needed: an MFA code, a login that has expired, a PIN
  126    exec: the program cannot be executed
  127    exec: the program was not found
  `brs exec` ends with the status of its program, and by the same signal.

ENVIRONMENT
  BRS_CONFIG       the configuration file
  BRS_CACHE_DIR    the directory of the host cache [default: $XDG_RUNTIME_DIR/brs]
  BRS_SESSION      set by `brs exec`: the name of the session
  BRS_CHAIN        set by `brs credential-process`: the sessions that wait for each other
  NO_COLOR         no colours, whatever the value

FILES
  ~/.config/brs/brs.toml, /etc/brs/brs.toml    the configuration
  $XDG_RUNTIME_DIR/brs/                        credential sets that processes share";
