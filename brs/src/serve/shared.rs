//! What all connections of a server share: the sessions, consumers and rules on offer, and what is
//! counted.
//!
//! The offer is replaced as a whole: a request sees the one before or the one after, and keeps it
//! until it is answered. A session that is the same one in both keeps its answer, its task and its
//! history.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use brs_core::{Clock, Error, RefreshableSession, SecretString};
use prometheus_client::metrics::histogram::Histogram;
use tokio::runtime::Handle as Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::assume::{AssumeRule, Assuming};
use super::consumer::Client;
use super::history::History;
use super::kept::Kept;
use super::tally::Tally;
use super::token::{self, Tokens};
use super::token_file::{OVERLAP, TokenFile};

/// What can be asked for, and by whom.
pub(super) struct Offer {
    pub(super) sessions: BTreeMap<String, Arc<Kept>>,
    pub(super) clients: Vec<Arc<Client>>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) assume: Vec<Arc<Assuming>>,
}

/// What all connections share.
pub(super) struct Shared {
    offer: RwLock<Arc<Offer>>,
    rules: Vec<AssumeRule>,
    histories: Mutex<BTreeMap<String, Arc<History>>>,
    /// The tasks that keep sessions fresh, by name, once the server runs.
    keepers: Mutex<Option<BTreeMap<String, AbortHandle>>>,
    runtime: Runtime,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) answer_within: Duration,
    pub(super) started: SystemTime,
    pub(super) changes: Arc<watch::Sender<u64>>,
    pub(super) stop: watch::Sender<bool>,
    /// Requests that no consumer is known of.
    pub(super) anonymous: Tally,
    pub(super) metadata: Tally,
    pub(super) durations: Histogram,
    pub(super) waiters: AtomicUsize,
    pub(super) admin_token: SecretString,
    pub(super) admin_token_file: Option<TokenFile>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) notifies: bool,
}

/// What is given to [`Shared::new`].
pub(super) struct Given {
    pub(super) sessions: Vec<(String, RefreshableSession)>,
    pub(super) clients: Vec<Client>,
    pub(super) rules: Vec<AssumeRule>,
    pub(super) runtime: Runtime,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) answer_within: Duration,
    pub(super) admin_token_file: Option<TokenFile>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) notifies: bool,
}

impl Shared {
    /// Writes the token files.
    pub(super) fn new(given: Given) -> Result<Arc<Self>, Error> {
        let (now, monotonic) = (given.clock.now(), given.clock.monotonic());
        let mut tokens = Tokens::default();
        for (owner, client) in given.clients.iter().enumerate() {
            tokens.add(token::hash(client.token.expose().as_bytes()), owner, None);
            if let (false, Some(file)) = (client.is_token_fixed, &client.token_file) {
                for (hash, left) in file.before(now) {
                    tokens.add(hash, owner, Some(monotonic + left));
                }
            }
        }
        let shared = Arc::new(Self {
            offer: RwLock::new(Arc::new(Offer {
                sessions: BTreeMap::new(),
                clients: given.clients.into_iter().map(Arc::new).collect(),
                tokens: Arc::new(tokens),
                assume: Vec::new(),
            })),
            rules: given.rules,
            histories: Mutex::default(),
            keepers: Mutex::default(),
            runtime: given.runtime,
            clock: given.clock,
            answer_within: given.answer_within,
            started: now,
            changes: Arc::new(watch::Sender::new(0)),
            stop: watch::Sender::new(false),
            anonymous: Tally::default(),
            metadata: Tally::default(),
            durations: Histogram::new([
                0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0,
            ]),
            waiters: AtomicUsize::new(0),
            admin_token: token::Token::random(),
            admin_token_file: given.admin_token_file,
            addresses: given.addresses,
            notifies: given.notifies,
        });
        shared.replace_sessions(given.sessions)?;
        shared.write_tokens(&shared.offer().clients)?;
        if let Some(file) = &shared.admin_token_file {
            file.write(&shared.admin_token)?;
        }
        Ok(shared)
    }

    pub(super) fn offer(&self) -> Arc<Offer> {
        Arc::clone(&self.offer.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, offer: Offer) {
        let offer = Arc::new(offer);
        let mut place = self.offer.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, offer);
        drop(place);
        // Without the lock: it may hold the last handle of a session.
        drop(before);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Serves these sessions from now on.
    pub(super) fn replace_sessions(
        &self,
        sessions: Vec<(String, RefreshableSession)>,
    ) -> Result<(), Error> {
        let mut keepers = lock(&self.keepers);
        let before = self.offer();
        let mut kept = BTreeMap::new();
        for (name, session) in sessions {
            super::consumer::check_name("session", &name)?;
            let same = before.sessions.get(&name);
            let same = same.filter(|kept| is_same(&kept.session, &session));
            let next = same.map_or_else(|| Arc::new(self.kept(&name, session)), Arc::clone);
            if kept.insert(name.clone(), next).is_some() {
                return Err(Error::validation(format!(
                    "two sessions are named `{name}`: give each a name of its own"
                ))
                .with_param("session"));
            }
        }
        let assume = self.assuming(&before, &kept)?;
        if let Some(keepers) = &mut *keepers {
            keepers.retain(|name, task| {
                let stays = match (kept.get(name), before.sessions.get(name)) {
                    (Some(next), Some(kept)) => Arc::ptr_eq(next, kept),
                    _ => false,
                };
                if !stays {
                    task.abort();
                }
                stays
            });
            self.keep(keepers, &kept);
        }
        self.put(Offer {
            sessions: kept,
            clients: before.clients.clone(),
            tokens: Arc::clone(&before.tokens),
            assume,
        });
        Ok(())
    }

    fn kept(&self, name: &str, session: RefreshableSession) -> Kept {
        let history = Arc::clone(lock(&self.histories).entry(name.to_owned()).or_default());
        Kept::new(name, session, history, Arc::clone(&self.changes))
    }

    /// The rules' pools; one on a session that stays goes on.
    fn assuming(
        &self,
        before: &Offer,
        sessions: &BTreeMap<String, Arc<Kept>>,
    ) -> Result<Vec<Arc<Assuming>>, Error> {
        let mut assuming = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let hub = sessions.get(&rule.from).ok_or_else(|| {
                Error::validation(format!(
                    "a rule assumes roles from the session `{}`, which does not exist: it is one of {}",
                    rule.from,
                    listed(sessions.keys())
                ))
                .with_param("assume.from")
            })?;
            let stays = before.sessions.get(&rule.from);
            let stays = stays.is_some_and(|kept| Arc::ptr_eq(kept, hub));
            assuming.push(match before.assume.get(at) {
                Some(same) if stays => Arc::clone(same),
                _ => Arc::new(Assuming::new(rule, &hub.session)?),
            });
        }
        Ok(assuming)
    }

    /// Starts the tasks that keep the sessions fresh.
    pub(super) fn begin(&self) {
        let mut keepers = lock(&self.keepers);
        let keepers = keepers.get_or_insert_default();
        self.keep(keepers, &self.offer().sessions);
    }

    fn keep(
        &self,
        keepers: &mut BTreeMap<String, AbortHandle>,
        sessions: &BTreeMap<String, Arc<Kept>>,
    ) {
        for (name, kept) in sessions {
            keepers
                .entry(name.clone())
                .or_insert_with(|| self.runtime.spawn(Arc::clone(kept).keep()).abort_handle());
        }
    }

    /// Gives consumers new tokens; those before are good for a while.
    pub(super) fn renew_tokens(&self) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.keepers);
        let before = self.offer();
        let until = self.clock.monotonic() + OVERLAP;
        let (mut clients, mut tokens) = (Vec::new(), Tokens::default());
        for (owner, client) in before.clients.iter().enumerate() {
            let next = client.renewed();
            tokens.add(token::hash(next.token.expose().as_bytes()), owner, None);
            if !next.is_token_fixed {
                let hash = token::hash(client.token.expose().as_bytes());
                tokens.add(hash, owner, Some(until));
            }
            clients.push(Arc::new(next));
        }
        // First accepted, then told: nobody reads a token that is not good yet. One that cannot be
        // told goes back to the one before.
        let put = |clients: Vec<Arc<Client>>, tokens: Arc<Tokens>| {
            self.put(Offer {
                sessions: before.sessions.clone(),
                clients,
                tokens,
                assume: before.assume.clone(),
            });
        };
        put(clients.clone(), Arc::new(tokens));
        let written = self.write_tokens(&clients);
        if written.is_err() {
            let _ = self.write_tokens(&before.clients);
            put(before.clients.clone(), Arc::clone(&before.tokens));
        }
        written
    }

    fn write_tokens(&self, clients: &[Arc<Client>]) -> Result<(), Error> {
        for client in clients {
            if let Some(file) = &client.token_file {
                file.write(&client.token)?;
            }
        }
        Ok(())
    }

    /// Ends the tasks, and removes the token files.
    pub(super) fn end(&self) {
        if let Some(keepers) = lock(&self.keepers).take() {
            keepers.into_values().for_each(|task| task.abort());
        }
        let now = self.clock.now();
        for client in &self.offer().clients {
            if let Some(file) = &client.token_file {
                file.remove(token::hash(client.token.expose().as_bytes()), now);
            }
        }
        if let Some(file) = &self.admin_token_file {
            let _ = std::fs::remove_file(file.path());
        }
    }

    /// The names of sessions without a usable set.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let offer = self.offer();
        let not_ready = offer.sessions.values().filter(|kept| !kept.is_ready());
        not_ready.map(|kept| kept.name.clone()).collect()
    }

    /// Counts a request as waiting until the guard is dropped.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiters)
    }

    pub(super) fn seconds(&self) -> u64 {
        let now = self.clock.coarse().0;
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offer = self.offer();
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("sessions", &offer.sessions.keys().collect::<Vec<_>>())
            .field(
                "consumers",
                &offer.clients.iter().map(|c| &c.name).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether both are handles of one session: clones share their configuration.
fn is_same(one: &RefreshableSession, other: &RefreshableSession) -> bool {
    std::ptr::eq(one.sdk_config(), other.sdk_config())
}

/// Names for a message.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
