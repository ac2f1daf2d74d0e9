//! Each line of what docs/hosts.md says of boots, tickets and addresses.

use super::*;

const HOST: HostId = 7;
const LIVE: Needs = Needs {
    config: false,
    overlay: false,
    reports: false,
};
const ALL: Needs = Needs {
    config: true,
    overlay: true,
    reports: true,
};
const OVERLAY_ONLY: Needs = Needs {
    config: false,
    overlay: true,
    reports: true,
};

/// Firmware, live system, and a neighbour.
const FIRMWARE: u8 = 2;
const SYSTEM: u8 = 3;
const NEIGHBOUR: u8 = 9;

fn at(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// A gate with one host, and tickets that are counted instead of drawn.
struct Play {
    gate: Gate,
    drawn: u8,
}

impl Play {
    fn new(needs: Needs) -> Self {
        Self::repeating(needs, false)
    }

    fn repeating(needs: Needs, repeat: bool) -> Self {
        let mut gate = Gate::new(repeat);
        gate.add(HOST, needs);
        Self { gate, drawn: 0 }
    }

    fn ask(&mut self, from: u8) -> Result<Tickets, Answer> {
        self.drawn += 2;
        let fresh = Tickets {
            secret: Ticket::new([self.drawn; TICKET_BYTES]),
            rootfs: Ticket::new([self.drawn + 1; TICKET_BYTES]),
        };
        match self.gate.ask(HOST, at(from), fresh, u64::from(self.drawn)) {
            Some(Answer::Boot(_)) => Ok(fresh),
            other => Err(other.unwrap()),
        }
    }

    fn boot(&mut self, from: u8) -> Tickets {
        self.ask(from).unwrap()
    }

    fn refusal(&mut self, from: u8) -> Denial {
        match self.ask(from) {
            Err(Answer::Refused(denial)) => denial,
            other => panic!("{other:?}"),
        }
    }

    /// Takes all of an item.
    fn take(&mut self, tickets: Tickets, item: Item, from: u8) -> Result<(), Denial> {
        let ticket = match item {
            Item::Rootfs | Item::Done => tickets.rootfs,
            _ => tickets.secret,
        };
        let judged = self.gate.judge(ticket, item, at(from));
        let entered = self.gate.enter(ticket, item, at(from), 0);
        assert_eq!(judged, entered, "{item:?}");
        let boot = entered?;
        if item != Item::Done {
            self.gate.leave(boot, item, true, 0);
        }
        Ok(())
    }

    fn loader(&mut self, tickets: Tickets, from: u8) {
        for item in [Item::Kernel, Item::Initramfs, Item::Overlay] {
            let taken = self.take(tickets, item, from);
            assert!(matches!(taken, Ok(()) | Err(Denial::Nothing)), "{taken:?}");
        }
    }
}

#[test]
fn a_boot_from_one_address() {
    let mut play = Play::new(ALL);
    let tickets = play.boot(FIRMWARE);
    play.loader(tickets, FIRMWARE);
    for item in [Item::Rootfs, Item::Config] {
        assert_eq!(
            play.take(tickets, Item::Done, FIRMWARE),
            Err(Denial::TooEarly)
        );
        play.take(tickets, item, FIRMWARE).unwrap();
    }
    assert!(!play.gate.is_done(HOST));
    play.take(tickets, Item::Done, FIRMWARE).unwrap();
    assert!(play.gate.is_done(HOST));
    // Whoever asks now is sent on to the disk.
    for from in [FIRMWARE, NEIGHBOUR] {
        assert_eq!(play.ask(from), Err(Answer::Installed));
    }
}

#[test]
fn a_ticket_is_for_the_address_that_asked() {
    let mut play = Play::new(ALL);
    let tickets = play.boot(FIRMWARE);
    for item in [
        Item::Kernel,
        Item::Initramfs,
        Item::Overlay,
        Item::Rootfs,
        Item::Config,
        Item::Done,
    ] {
        assert_eq!(play.take(tickets, item, NEIGHBOUR), Err(Denial::Elsewhere));
    }
    play.take(tickets, Item::Initramfs, FIRMWARE).unwrap();
    // The machine can't run without its overlay, so it isn't the machine.
    assert_eq!(
        play.take(tickets, Item::Rootfs, SYSTEM),
        Err(Denial::Elsewhere)
    );
    assert_eq!(
        play.take(tickets, Item::Config, SYSTEM),
        Err(Denial::Elsewhere)
    );
    play.take(tickets, Item::Overlay, FIRMWARE).unwrap();
    play.take(tickets, Item::Config, FIRMWARE).unwrap();
}

#[test]
fn the_address_moves_once() {
    let mut play = Play::new(ALL);
    let tickets = play.boot(FIRMWARE);
    play.loader(tickets, FIRMWARE);
    // Looking moves nothing.
    for _ in 0..2 {
        let judged = play.gate.judge(tickets.rootfs, Item::Rootfs, at(NEIGHBOUR));
        assert!(judged.is_ok());
    }
    play.take(tickets, Item::Rootfs, SYSTEM).unwrap();
    for from in [FIRMWARE, NEIGHBOUR] {
        assert_eq!(
            play.take(tickets, Item::Config, from),
            Err(Denial::Elsewhere)
        );
        assert_eq!(
            play.take(tickets, Item::Overlay, from),
            Err(Denial::Elsewhere)
        );
    }
    assert_eq!(
        play.take(tickets, Item::Overlay, SYSTEM),
        Err(Denial::Elsewhere)
    );
    play.take(tickets, Item::Config, SYSTEM).unwrap();
    assert_eq!(
        play.take(tickets, Item::Done, FIRMWARE),
        Err(Denial::Elsewhere)
    );
    play.take(tickets, Item::Done, SYSTEM).unwrap();
}

#[test]
fn each_ticket_opens_its_own() {
    let mut play = Play::new(ALL);
    let tickets = play.boot(FIRMWARE);
    play.loader(tickets, FIRMWARE);
    let swapped = Tickets {
        secret: tickets.rootfs,
        rootfs: tickets.secret,
    };
    for item in [
        Item::Kernel,
        Item::Overlay,
        Item::Config,
        Item::Rootfs,
        Item::Done,
    ] {
        assert_eq!(
            play.take(swapped, item, FIRMWARE),
            Err(Denial::Unknown),
            "{item:?}"
        );
    }
}

#[test]
fn before_its_secrets_are_delivered_a_host_may_ask_again_from_its_addresses() {
    let mut play = Play::new(ALL);
    let first = play.boot(FIRMWARE);
    assert_eq!(play.refusal(NEIGHBOUR), Denial::Bound);
    let second = play.boot(FIRMWARE);
    assert_eq!(
        play.take(first, Item::Kernel, FIRMWARE),
        Err(Denial::Unknown)
    );
    play.loader(second, FIRMWARE);
    play.take(second, Item::Rootfs, SYSTEM).unwrap();
    assert_eq!(play.refusal(NEIGHBOUR), Denial::Bound);
    // A power cycle: the firmware has its own address again.
    let third = play.boot(FIRMWARE);
    assert_eq!(
        play.take(second, Item::Config, SYSTEM),
        Err(Denial::Unknown)
    );
    play.loader(third, FIRMWARE);
    play.take(third, Item::Config, SYSTEM).unwrap();
    assert_eq!(play.gate.count(), 2);
}

#[test]
fn after_its_config_a_host_gets_nothing_again() {
    let mut play = Play::new(ALL);
    let tickets = play.boot(FIRMWARE);
    play.loader(tickets, FIRMWARE);
    play.take(tickets, Item::Config, FIRMWARE).unwrap();
    for from in [FIRMWARE, SYSTEM, NEIGHBOUR] {
        assert_eq!(play.refusal(from), Denial::Sealed);
    }
    assert_eq!(
        play.take(tickets, Item::Config, FIRMWARE),
        Err(Denial::Delivered)
    );
    assert_eq!(
        play.take(tickets, Item::Overlay, FIRMWARE),
        Err(Denial::Sealed)
    );
    // What is no secret may come after it.
    play.take(tickets, Item::Rootfs, FIRMWARE).unwrap();
    play.take(tickets, Item::Done, FIRMWARE).unwrap();
}

#[test]
fn without_a_config_the_root_file_system_is_the_last_of_it() {
    let mut play = Play::new(OVERLAY_ONLY);
    let tickets = play.boot(FIRMWARE);
    play.loader(tickets, FIRMWARE);
    let tickets = play.boot(FIRMWARE);
    play.loader(tickets, FIRMWARE);
    assert_eq!(
        play.take(tickets, Item::Config, FIRMWARE),
        Err(Denial::Nothing)
    );
    play.take(tickets, Item::Rootfs, FIRMWARE).unwrap();
    assert_eq!(play.refusal(FIRMWARE), Denial::Sealed);
    play.take(tickets, Item::Done, FIRMWARE).unwrap();
}

#[test]
fn the_operator_lets_one_address_through_once() {
    let mut play = Play::new(ALL);
    let old = play.boot(NEIGHBOUR);
    assert_eq!(play.refusal(FIRMWARE), Denial::Bound);
    play.gate.allow(HOST, at(FIRMWARE));
    assert_eq!(play.refusal(SYSTEM), Denial::Bound);
    let tickets = play.boot(FIRMWARE);
    assert_eq!(
        play.take(old, Item::Config, NEIGHBOUR),
        Err(Denial::Unknown)
    );
    play.loader(tickets, FIRMWARE);
    play.take(tickets, Item::Config, FIRMWARE).unwrap();
    assert_eq!(play.refusal(FIRMWARE), Denial::Sealed);
    play.gate.allow(HOST, at(FIRMWARE));
    assert_eq!(play.refusal(NEIGHBOUR), Denial::Sealed);
    let tickets = play.boot(FIRMWARE);
    play.take(tickets, Item::Config, FIRMWARE).unwrap();
    assert_eq!(play.refusal(FIRMWARE), Denial::Sealed);
}

#[test]
fn a_transfer_that_breaks_off_delivers_nothing() {
    let mut play = Play::new(ALL);
    let tickets = play.boot(FIRMWARE);
    let enter = |gate: &mut Gate| gate.enter(tickets.secret, Item::Config, at(FIRMWARE), 0);
    let boot = enter(&mut play.gate).unwrap();
    assert_eq!(enter(&mut play.gate), Err(Denial::Busy));
    play.gate.leave(boot, Item::Config, false, 0);
    assert_eq!(enter(&mut play.gate), Ok(boot));
    // One of an old boot says nothing of the new one.
    let tickets = play.boot(FIRMWARE);
    play.gate.leave(boot, Item::Config, true, 0);
    assert!(!play.gate.is_sealed(HOST));
    play.take(tickets, Item::Config, FIRMWARE).unwrap();
}

#[test]
fn without_secrets_everybody_boots_and_nobody_is_done() {
    let mut play = Play::new(LIVE);
    let first = play.boot(FIRMWARE);
    let other = play.boot(NEIGHBOUR);
    assert_ne!(first, other);
    play.loader(first, FIRMWARE);
    play.take(first, Item::Rootfs, SYSTEM).unwrap();
    assert_eq!(play.take(first, Item::Config, SYSTEM), Err(Denial::Nothing));
    assert_eq!(play.take(first, Item::Done, SYSTEM), Err(Denial::Nothing));
    assert_eq!(
        play.take(other, Item::Kernel, FIRMWARE),
        Err(Denial::Elsewhere)
    );
    // There are so many boots of one host, and the one that fetched something stays.
    for from in 10..50 {
        play.boot(from);
    }
    assert_eq!(play.gate.count(), 2 * MAX_BOOTS_OF_HOST);
    play.take(first, Item::Rootfs, SYSTEM).unwrap();
    play.gate.remove(HOST);
    assert_eq!(play.gate.count(), 0);
    assert!(play.gate.boots.is_empty());
}

#[test]
fn repeat_gives_everything_to_everybody() {
    let mut play = Play::repeating(ALL, true);
    for _ in 0..2 {
        for from in [FIRMWARE, NEIGHBOUR] {
            let tickets = play.boot(from);
            play.loader(tickets, from);
            play.take(tickets, Item::Rootfs, from).unwrap();
            for _ in 0..2 {
                play.take(tickets, Item::Config, from).unwrap();
                play.take(tickets, Item::Overlay, from).unwrap();
            }
            play.take(tickets, Item::Done, from).unwrap();
        }
    }
}

#[test]
fn tickets_are_read_as_they_are_written() {
    let ticket = Ticket::new([0xab; TICKET_BYTES]);
    assert_eq!(ticket.to_string(), "ab".repeat(16));
    assert_eq!(ticket.to_string().parse(), Ok(ticket));
    for text in ["", "ab", &"ab".repeat(17), &"xy".repeat(16)] {
        assert!(text.parse::<Ticket>().is_err(), "{text}");
    }
}
