//! Hardware addresses of network cards, in every spelling that boot loaders and people use.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A hardware address. Shown in lower case with colons, as iPXE's `${netX/mac}` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// A text that is no hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no hardware address such as 52:54:00:12:34:56")]
pub struct NoMac(String);

impl Mac {
    /// Whether it can belong to one card: neither a group's address nor all zeros.
    pub fn is_one_card(self) -> bool {
        const GROUP: u8 = 1;
        self.0[0] & GROUP == 0 && self.0 != [0; 6]
    }
}

impl FromStr for Mac {
    type Err = NoMac;

    /// Takes `52:54:00:12:34:56`, `52-54-00-12-34-56`, `5254.0012.3456`, `525400123456`, and
    /// PXELINUX's `01-52-54-00-12-34-56`, in either case.
    fn from_str(text: &str) -> Result<Self, NoMac> {
        let refused = || NoMac(text.chars().take(64).collect());
        let (separator, group) = match text.as_bytes() {
            [_, _, b':', ..] => (Some(':'), 2),
            [_, _, b'-', ..] => (Some('-'), 2),
            [_, _, _, _, b'.', ..] => (Some('.'), 4),
            _ => (None, 12),
        };
        let mut groups: Vec<&str> = match separator {
            Some(separator) => text.split(separator).collect(),
            None => vec![text],
        };
        // PXELINUX puts the kind of network first; 01 is Ethernet.
        if groups.len() == 7 && separator == Some('-') && groups[0] == "01" {
            groups.remove(0);
        }
        if groups.iter().any(|digits| digits.len() != group) {
            return Err(refused());
        }
        let mut address = [0; 6];
        hex::decode_to_slice(groups.concat(), &mut address).map_err(|_| refused())?;
        Ok(Self(address))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::Mac;

    #[test]
    fn every_spelling_is_one_address() {
        for text in [
            "52:54:00:ab:cd:ef",
            "52:54:00:AB:CD:EF",
            "52-54-00-ab-cd-EF",
            "01-52-54-00-ab-cd-ef",
            "5254.00AB.cdef",
            "525400abcdef",
        ] {
            let mac: Mac = text.parse().expect(text);
            assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef", "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:ef:00",
            "52:54:00-ab:cd:ef",
            "5:254:00:ab:cd:ef",
            "52:54:00:ab:cd:eg",
            "+2:54:00:ab:cd:ef",
            "02-52-54-00-ab-cd-ef",
            "01:52:54:00:ab:cd:ef",
            "525400abcde",
            "525400abcdeff",
            "5254.00ab.cde.f",
            "ééé",
            "é4:00",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_is_no_card() {
        for (text, one) in [
            ("52:54:00:ab:cd:ef", true),
            ("01:00:5e:00:00:01", false),
            ("ff:ff:ff:ff:ff:ff", false),
            ("00:00:00:00:00:00", false),
        ] {
            assert_eq!(text.parse::<Mac>().unwrap().is_one_card(), one, "{text}");
        }
    }
}
