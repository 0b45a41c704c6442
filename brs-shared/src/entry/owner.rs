//! Who writes entries and holds locks: a process.

use brs_core::kit::PerProcess;

/// A process: its id, which says little on other hosts, and a name that no other one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    id: String,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Self {
        static OWN: PerProcess<Owner> = PerProcess::new();
        let own = OWN.get_or_make(|_| {
            let mut random = [0; 16];
            // Without it the process's id still tells the processes of a host apart.
            let _ = aws_lc_rs::rand::fill(&mut random);
            Self {
                pid: std::process::id(),
                id: format!("{:032x}", u128::from_ne_bytes(random)),
            }
        });
        Self::clone(&own)
    }

    /// An owner as an entry or a lock names it.
    pub(crate) fn of(pid: u32, id: &str) -> Option<Self> {
        let is_one = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
        is_one.then(|| Self {
            pid,
            id: id.to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}
