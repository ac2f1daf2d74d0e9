//! Sizes as users write them.

use anyhow::{Context, Result, bail};

/// Bytes, from a number with K, M, G or T behind it: powers of 1024.
pub(super) fn size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        other => bail!("{other:?} is not a unit; there are K, M, G and T"),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .with_context(|| format!("{text:?} is not a size such as 16G"))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in [
            ("512", 512),
            ("4096M", 4096 << 20),
            ("16G", 16 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "G", "16 G", "1.5G", "16X", "99999999999T", "-1G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
