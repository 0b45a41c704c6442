//! The servers, networks and files of a run, and how a fault is applied to them and lifted.
//!
//! The store and the broker are processes, whose end and return take a while: a thread of each
//! (`keeper`) does that, so that the conductor's time goes on. Where a fault is one of worker
//! processes or of their clocks, the conductor applies it.

mod keeper;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brs_tests::embedded_iot::{Device, EmbeddedIot, KeyKind};
use brs_tests::gateway::Gateway;
use brs_tests::machine_metadata::MachineMetadata;
use brs_tests::mosquitto::Mosquitto;
use brs_tests::redis::Redis;
use brs_tests::rough_path::RoughPath;
use brs_tests::{EmbeddedAnywhere, EmbeddedAws};
use tempfile::TempDir;

use crate::Failure;
use crate::ledger::Count;
use crate::record::{self, Settings, Start};
use crate::roster::{self, LIFETIME, Role};
use crate::schedule::{Fault, Kind, Track, Trouble};
use crate::secrets::Needles;
use crate::worker::ALIAS;
pub(crate) use keeper::Absence;
use keeper::Keeper;

const ROLE: &str = "arn:aws:iam::123456789012:role/device";
const ANYWHERE_ROLE: &str = "arn:aws:iam::123456789012:role/anywhere";
const THING: &str = "soak-device";

/// What the run consists of besides its processes.
pub(crate) struct World {
    aws: Arc<EmbeddedAws>,
    iot: EmbeddedIot,
    anywhere: EmbeddedAnywhere,
    machine: MachineMetadata,
    /// To STS.
    road: RoughPath,
    folder: TempDir,
    devices: Vec<Device>,
    tokens: Vec<String>,
    store: Option<Keeper>,
    broker: Option<Broker>,
    seal_keys: String,
    fleet_url: Option<String>,
}

struct Broker {
    keeper: Keeper,
    /// To its door for certificates.
    line: RoughPath,
    gateway: Gateway,
}

impl World {
    /// Starts everything. What the machine lacks is left out.
    pub(crate) fn start(with_store: bool, with_broker: bool) -> Result<Self, Failure> {
        // What is signed with a stepped clock is not what is tried here.
        let aws = EmbeddedAws::builder().allowed_skew(Duration::MAX).start();
        aws.set_lifetime(Some(LIFETIME));
        let iot = EmbeddedIot::start(&aws);
        iot.add_role_alias(ALIAS, ROLE, None);
        let anywhere = EmbeddedAnywhere::start(&aws, &iot);
        anywhere.add_role(ANYWHERE_ROLE);
        let machine = MachineMetadata::start(&aws);
        machine.set_lifetime(LIFETIME);
        let address = aws.endpoint_url();
        let address = address.strip_prefix("http://").unwrap_or_default();
        let road = RoughPath::start(address.parse()?);
        let redis = with_store.then(Redis::start);
        let fleet_url = redis.as_ref().map(Redis::url);
        let broker = with_broker.then(|| {
            let broker = Mosquitto::start(&iot);
            Broker {
                line: RoughPath::start(broker.tls_address()),
                gateway: Gateway::start(&aws, &iot, broker.websocket_address()),
                keeper: Keeper::of_broker(broker),
            }
        });
        let seal_key: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        let seal_key = <base64ct::Base64 as base64ct::Encoding>::encode_string(&seal_key);
        let mut world = Self {
            aws: Arc::new(aws),
            iot,
            anywhere,
            machine,
            road,
            folder: tempfile::tempdir()?,
            devices: Vec::new(),
            tokens: Vec::new(),
            store: redis.map(Keeper::of_store),
            broker,
            seal_keys: format!("soak:{seal_key}"),
            fleet_url,
        };
        fs::create_dir(world.files())?;
        world.replace_certificate()?;
        world.replace_token()?;
        Ok(world)
    }

    /// From when on the absences of store and broker are told.
    pub(crate) fn count_from(&self, start: Start) {
        let broker = self.broker.iter().map(|broker| &broker.keeper);
        let keepers = self.store.iter().chain(broker);
        keepers.for_each(|keeper| keeper.count_from(start));
    }

    /// What a worker needs.
    pub(crate) fn settings(&self, is_main: bool, start: Start) -> Settings {
        let broker = self.broker.as_ref().filter(|_| is_main);
        Settings {
            is_main,
            start,
            endpoint: self.aws.endpoint_url(),
            source_endpoint: format!("http://{}", self.road.address()),
            access_key_id: self.aws.access_key_id().to_owned(),
            secret_access_key: self.aws.secret_access_key().to_owned(),
            iot_endpoint: self.iot.endpoint(),
            anywhere: record::Anywhere {
                endpoint: self.anywhere.endpoint(),
                trust_anchor_arn: self.anywhere.trust_anchor_arn().to_owned(),
                profile_arn: self.anywhere.profile_arn().to_owned(),
            },
            trust_store: self.iot.trust_store(),
            instance_url: self.machine.url(),
            task_url: self.machine.task_url(),
            files: self.files(),
            cache: self.cache(),
            fleet: self.fleet_url.clone().map(|url| record::Fleet {
                url,
                seal_keys: self.seal_keys.clone(),
            }),
            broker: broker.map(|broker| record::Broker {
                by_certificate: broker.line.endpoint(),
                by_signature: broker.gateway.endpoint(),
            }),
        }
    }

    /// Begins a fault. Keys of sets are those that services are to reject.
    pub(crate) fn apply(&mut self, fault: &Fault, keys: &[String]) -> Result<(), Failure> {
        match (fault.track, fault.kind) {
            (track, Kind::Source(trouble)) => self.set_trouble(track, Some(trouble)),
            (Track::Road, Kind::Cut) => self.road.cut(),
            (Track::Road, Kind::Slow(delay)) => self.road.set_delay(Duration::from_millis(delay)),
            (Track::Line, Kind::Cut) => {
                self.iot.close_connections();
                self.anywhere.close_connections();
                if let Some(broker) = &self.broker {
                    broker.line.cut();
                    broker.gateway.cut();
                }
            }
            (Track::Line, Kind::Slow(delay)) => self.slow_down(Duration::from_millis(delay)),
            (Track::Store, Kind::Away) => self.store.iter().for_each(Keeper::end),
            (Track::Broker, Kind::Away) => {
                self.broker.iter().for_each(|broker| broker.keeper.end());
            }
            (Track::Certificate, Kind::Replaced) => self.replace_certificate()?,
            (Track::Token, Kind::Replaced) => self.replace_token()?,
            (Track::Token, Kind::Missing) => fs::remove_file(self.files().join("token"))?,
            (Track::Rejection, _) => keys.iter().for_each(|key| self.aws.expire(key)),
            _ => {}
        }
        Ok(())
    }

    /// Ends a fault that lasts.
    pub(crate) fn lift(&mut self, fault: &Fault) -> Result<(), Failure> {
        match (fault.track, fault.kind) {
            (track, Kind::Source(_)) => self.set_trouble(track, None),
            (Track::Road, Kind::Slow(_)) => self.road.set_delay(Duration::ZERO),
            (Track::Line, Kind::Slow(_)) => self.slow_down(Duration::ZERO),
            (Track::Store, Kind::Away) => self.store.iter().for_each(Keeper::start),
            (Track::Broker, Kind::Away) => {
                self.broker.iter().for_each(|broker| broker.keeper.start());
            }
            (Track::Token, Kind::Missing) => self.replace_token()?,
            _ => {}
        }
        Ok(())
    }

    fn set_trouble(&self, track: Track, trouble: Option<Trouble>) {
        let failure = |action| trouble.map(|trouble| trouble::failure(trouble, action));
        match track {
            Track::Iot => {
                self.iot.fail_always(failure("iot"));
                self.iot.release_hangs();
            }
            Track::Anywhere => self.anywhere.fail_always(failure("anywhere")),
            Track::Metadata => trouble::of_metadata(&self.machine, trouble),
            _ => {
                let action = match track {
                    Track::SessionToken => "GetSessionToken",
                    Track::WebIdentity => "AssumeRoleWithWebIdentity",
                    _ => "AssumeRole",
                };
                self.aws.fail_always_of(action, failure(action));
                // Another action's hangs end too: a call that is answered late is no fault.
                self.aws.release_hangs();
            }
        }
    }

    fn slow_down(&self, delay: Duration) {
        self.iot.set_latency(delay);
        if let Some(broker) = &self.broker {
            broker.line.set_delay(delay);
        }
    }

    /// A new pair of certificate and key, the key first: half a pair is not used. Those of the
    /// rotation before last are no longer good.
    fn replace_certificate(&mut self) -> Result<(), Failure> {
        let device = self.iot.add_device(THING, KeyKind::EcP256);
        self.write("key", &device.private_key_pem)?;
        self.write("certificate", &device.certificate_pem)?;
        self.devices.push(device);
        if let Some(old) = self.devices.iter().nth_back(2) {
            self.iot.deactivate(old);
        }
        Ok(())
    }

    fn replace_token(&mut self) -> Result<(), Failure> {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(64)
            .collect();
        let token = format!("eyJ.soak-{}.{random}", self.tokens.len());
        self.aws.add_web_identity(&token, "soak");
        self.write("token", &token)?;
        self.tokens.push(token);
        if let Some(old) = self.tokens.iter().nth_back(2) {
            self.aws.expire_web_identity(old);
        }
        Ok(())
    }

    /// A file is there as a whole, or as it was.
    fn write(&self, name: &str, content: &str) -> Result<(), Failure> {
        let new = self.files().join(format!("{name}.new"));
        fs::write(&new, content)?;
        Ok(fs::rename(new, self.files().join(name))?)
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Which times the store and the broker were away.
    pub(crate) fn absences(&self) -> Vec<(Track, Vec<Absence>)> {
        let of = |keeper: Option<&Keeper>| keeper.map(Keeper::absences).unwrap_or_default();
        vec![
            (Track::Store, of(self.store.as_ref())),
            (
                Track::Broker,
                of(self.broker.as_ref().map(|broker| &broker.keeper)),
            ),
        ]
    }

    /// All secrets that there are, to look for them: issued ones, tokens, keys.
    pub(crate) fn needles(&self) -> Needles {
        let keys = self.devices.iter().flat_map(|device| {
            let lines = device.private_key_pem.lines().map(str::to_owned);
            lines.filter(|line| line.len() >= 48 && !line.contains("-----"))
        });
        let needles = self.aws.issued_secrets().into_iter();
        let needles = needles
            .chain(self.tokens.iter().cloned())
            .chain(self.machine.session_tokens());
        Needles::of(needles.chain(keys).chain([self.seal_keys.clone()]))
    }

    /// Looks into the store and the host cache; gives what must not be there, and how much was
    /// looked at.
    pub(crate) fn look_into_stores(&self, needles: &Needles) -> (Vec<String>, u64) {
        let dump = self.store.as_ref().and_then(Keeper::dump);
        let dump = dump.unwrap_or_default();
        let mut found = needles.find("Redis's dump", &dump);
        let mut bytes = dump.len() as u64;
        for file in fs::read_dir(self.cache()).into_iter().flatten().flatten() {
            let path = file.path();
            let Ok(content) = fs::read(&path) else {
                // Renamed or removed just now.
                continue;
            };
            bytes += content.len() as u64;
            found.extend(found_in_cache(
                needles,
                &path,
                &content,
                self.aws.secret_access_key(),
            ));
        }
        (found, bytes)
    }

    /// How often each source was called, by the names of the sessions that call it.
    pub(crate) fn counts(&self) -> Vec<Count> {
        let requests = self.aws.requests();
        let of_action = |action: &str| {
            let calls = requests.iter().filter(|request| request.action == action);
            calls.count() as u64
        };
        let count = |sessions: &[&'static str], calls| Count {
            sessions: sessions.to_vec(),
            calls,
        };
        let mut counts = vec![
            count(&["session-token", "function"], of_action("GetSessionToken")),
            count(&["web-identity"], of_action("AssumeRoleWithWebIdentity")),
            count(&["iot"], self.iot.calls() as u64),
            count(&["anywhere"], self.anywhere.calls() as u64),
        ];
        let roles = roster::MAIN.iter().chain(roster::SIDE.iter().take(1));
        for Role { name, role_arn, .. } in roles.filter(|role| role.role_arn.is_some()) {
            let calls = requests.iter().filter(|request| {
                request.action == "AssumeRole"
                    && request.parameters.get("RoleArn").map(String::as_str) == *role_arn
            });
            counts.push(count(&[*name], calls.count() as u64));
        }
        counts
    }
}

/// Entries of the host cache hold credentials; they are their user's alone, and no other file holds
/// any. The key of who asks is in none.
fn found_in_cache(needles: &Needles, path: &Path, content: &[u8], users: &str) -> Vec<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let place = format!("the host cache's `{name}`");
    let is_entry = path
        .extension()
        .is_some_and(|ending| ending == "json" || ending == "tmp");
    let mut found = if is_entry {
        Needles::of([users.to_owned()]).find(&place, content)
    } else {
        needles.find(&place, content)
    };
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(format!("{place} can be read by other users"));
        }
    }
    found
}
