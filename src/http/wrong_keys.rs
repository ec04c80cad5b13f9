//! Who shows wrong keys too often is told to stop. A right key always passes, whoever else stands behind the same address,
//! so that nobody can lock others out; guessing is hopeless anyway, and this keeps it from being loud.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong keys that an address may show within the window.
const TIMES_MAX: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are told apart at a time, and how often those that have calmed down are forgotten once there are so many.
const PEERS_MAX: usize = 4_096;
const SWEEP: Duration = Duration::from_secs(1);

/// Wrong keys of late, by address.
#[derive(Debug, Default)]
pub(super) struct WrongKeys(Mutex<Tallies>);

#[derive(Debug, Default)]
struct Tallies {
    by_peer: HashMap<IpAddr, Tally>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Tally {
    since: Instant,
    times: u32,
}

impl WrongKeys {
    /// Notes a wrong key and returns how long to keep away with more, where there were too many.
    pub(super) fn note(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        if !tallies.by_peer.contains_key(&peer) && !tallies.has_room(now) {
            // So many are at it that nobody new is told apart from them.
            return Some(WINDOW);
        }
        let tally = tallies.by_peer.entry(peer).or_insert(Tally { since: now, times: 0 });
        if now.duration_since(tally.since) >= WINDOW {
            *tally = Tally { since: now, times: 0 };
        }
        tally.times = tally.times.saturating_add(1);
        (tally.times > TIMES_MAX).then(|| WINDOW.saturating_sub(now.duration_since(tally.since)))
    }
}

impl Tallies {
    fn has_room(&mut self, now: Instant) -> bool {
        if self.by_peer.len() >= PEERS_MAX
            && self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP)
        {
            self.swept = Some(now);
            self.by_peer.retain(|_, tally| now.duration_since(tally.since) < WINDOW);
        }
        self.by_peer.len() < PEERS_MAX
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_may_err_so_often_in_a_minute_and_others_are_none_of_its_business() {
        let (wrong, began) = (WrongKeys::default(), Instant::now());
        for _ in 0..TIMES_MAX {
            assert_eq!(wrong.note(peer("10.0.0.1"), began), None);
        }
        let later = began + Duration::from_secs(20);
        assert_eq!(wrong.note(peer("10.0.0.1"), later), Some(Duration::from_secs(40)));
        assert_eq!(wrong.note(peer("::ffff:10.0.0.1"), later), Some(Duration::from_secs(40)));
        assert_eq!(wrong.note(peer("10.0.0.2"), later), None);
        assert_eq!(wrong.note(peer("10.0.0.1"), began + WINDOW), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (wrong, now) = (WrongKeys::default(), Instant::now());
        for host in 0..=TIMES_MAX {
            let ip = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host as u16));
            assert_eq!(wrong.note(ip, now).is_some(), host == TIMES_MAX);
        }
        assert_eq!(wrong.note(peer("2001:db8:0:2::1"), now), None);
    }

    #[test]
    fn the_table_has_an_end_and_room_again_when_they_have_calmed_down() {
        let (wrong, began) = (WrongKeys::default(), Instant::now());
        let ip = |at: usize| IpAddr::V4(std::net::Ipv4Addr::from_bits(at as u32));
        for at in 0..PEERS_MAX {
            assert_eq!(wrong.note(ip(at), began), None);
        }
        assert_eq!(wrong.note(ip(PEERS_MAX), began), Some(WINDOW));
        assert_eq!(wrong.0.lock().unwrap().by_peer.len(), PEERS_MAX);
        assert_eq!(wrong.note(ip(PEERS_MAX), began + WINDOW), None);
        assert_eq!(wrong.0.lock().unwrap().by_peer.len(), 1);
    }
}
