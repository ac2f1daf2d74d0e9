//! A stable text dump of an initramfs, for tests and for people.

use std::fmt::Write;
use std::io::Read;

use anyhow::Result;

use super::reader::{Limits, Member, read_initramfs};

/// Longest symlink target that is shown.
const TARGET_MAX_BYTES: u64 = 4096;

/// One line a member (mode, owner, links, time, size, name), after one for each segment.
pub fn describe(input: impl Read, limits: &Limits) -> Result<String> {
    let mut lines = Vec::new();
    let segments = read_initramfs(
        input,
        limits,
        &mut |member: &Member, data: &mut dyn Read| {
            lines.push(line(member, data)?);
            Ok(())
        },
    )?;
    let mut lines = lines.into_iter();
    let mut text = String::new();
    for segment in segments {
        writeln!(text, "{} at {}", segment.compression, segment.offset)?;
        for line in lines.by_ref().take(usize::try_from(segment.members)?) {
            writeln!(text, "  {line}")?;
        }
    }
    Ok(text)
}

fn line(member: &Member, data: &mut dyn Read) -> Result<String> {
    let mut line = format!(
        "{:06o} {}:{} {} {} {} {}",
        member.mode,
        member.uid,
        member.gid,
        member.nlink,
        member.mtime,
        member.size,
        member.name.escape_ascii()
    );
    if member.is_symlink() {
        let mut target = Vec::new();
        data.take(TARGET_MAX_BYTES).read_to_end(&mut target)?;
        write!(line, " -> {}", target.escape_ascii())?;
    }
    if let Some(first) = member.same_file.first() {
        write!(line, " = {}", first.escape_ascii())?;
    }
    Ok(line)
}
