//! Room for connections: a share for each address, and one for all.
//!
//! Whoever opens connections and does nothing with them must not keep others out. An address that has
//! its share gets no more; when all places are taken, the address that has most gives one up, the one
//! that has been stalled for the longest time.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

/// More than a rack opens at once.
pub(super) const MAX_CONNECTIONS: usize = 1024;

/// Two racks behind one address, as address translation makes it, have some hundred machines, each with
/// one connection at a time.
pub(super) const MAX_CONNECTIONS_OF_ADDRESS: usize = 128;

/// While nobody has more places than others, only a connection that was stalled for as long gives its
/// own up.
const STALLED: Duration = Duration::from_secs(5);

struct Open {
    address: IpAddr,
    pulse: Pulse,
    cut: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, Open>,
    shares: HashMap<IpAddr, usize>,
}

/// All places.
pub(super) struct Places {
    all: usize,
    of_address: usize,
    began: Instant,
    inner: Mutex<Inner>,
    count: watch::Sender<usize>,
}

/// When a connection last took anything.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

/// A place that one connection has until this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(super) pulse: Pulse,
    cut: Arc<Notify>,
}

impl Pulse {
    pub(super) fn new(began: Instant) -> Self {
        let pulse = Self {
            began,
            last_ms: Arc::default(),
        };
        pulse.beat();
        pulse
    }

    /// The client has taken something.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    fn stalled(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms());
        self.began.elapsed().saturating_sub(last)
    }
}

impl Places {
    pub(super) fn new(all: usize, of_address: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            of_address,
            began: Instant::now(),
            inner: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }

    /// A place for `address`, if it gets one.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let own = inner.shares.get(&address).copied().unwrap_or(0);
        if own >= self.of_address {
            return None;
        }
        if inner.open.len() >= self.all {
            let victim = inner.victim(own)?;
            inner.close(victim);
        }
        let id = inner.next;
        inner.next += 1;
        let (pulse, cut) = (Pulse::new(self.began), Arc::new(Notify::new()));
        let open = Open {
            address,
            pulse: pulse.clone(),
            cut: Arc::clone(&cut),
        };
        inner.open.insert(id, open);
        *inner.shares.entry(address).or_default() += 1;
        drop(inner);
        self.count.send_modify(|count| *count += 1);
        Some(Place {
            places: Arc::clone(self),
            id,
            pulse,
            cut,
        })
    }

    /// How many connections are open.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no connection is open.
    pub(super) async fn empty(&self) {
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Inner {
    /// The connection that gives its place up for an address that has `own` already.
    fn victim(&self, own: usize) -> Option<u64> {
        let most = self.shares.values().copied().max()?;
        let holds_most = |open: &Open| self.shares.get(&open.address) == Some(&most);
        let stalled = self.open.iter().filter(|(_, open)| holds_most(open));
        let (&id, open) = stalled.min_by_key(|(_, open)| open.pulse.last_ms())?;
        (most > own + 1 || open.pulse.stalled() >= STALLED).then_some(id)
    }

    fn close(&mut self, id: u64) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        open.cut.notify_one();
        if let Some(share) = self.shares.get_mut(&open.address) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&open.address);
            }
        }
    }
}

impl Place {
    /// Waits until the place has to be given up.
    pub(super) async fn given_up(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self
            .places
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inner.close(self.id);
        drop(inner);
        self.places.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn an_address_has_its_share() {
        let places = Places::new(8, 2);
        let first = places.take(address(2)).unwrap();
        let _second = places.take(address(2)).unwrap();
        assert!(places.take(address(2)).is_none());
        assert!(places.take(address(3)).is_some());
        drop(first);
        assert!(places.take(address(2)).is_some());
        assert_eq!(places.count(), 1);
    }

    #[test]
    fn whoever_has_most_makes_room_with_what_stalls_longest() {
        let places = Places::new(4, 3);
        let wait = || std::thread::sleep(Duration::from_millis(5));
        let neighbour: Vec<Place> = (0..3)
            .map(|_| {
                wait();
                places.take(address(9)).unwrap()
            })
            .collect();
        let _machine = places.take(address(2)).unwrap();
        wait();
        neighbour[0].pulse.beat();
        let newcomer = places.take(address(3));
        assert!(newcomer.is_some());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let is_cut = |place: &Place| {
            runtime.block_on(async {
                let soon = Duration::from_millis(20);
                tokio::time::timeout(soon, place.given_up()).await.is_ok()
            })
        };
        assert!(!is_cut(&neighbour[0]));
        assert!(is_cut(&neighbour[1]));
        assert!(!is_cut(&neighbour[2]));
    }

    #[test]
    fn nobody_is_cut_off_for_an_equal() {
        let places = Places::new(2, 2);
        let _one = places.take(address(2)).unwrap();
        let _other = places.take(address(3)).unwrap();
        assert!(places.take(address(4)).is_none());
        assert_eq!(places.count(), 2);
    }
}
