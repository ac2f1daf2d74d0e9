//! Tar archives as container tools write them, and as they better did not.

/// A tar archive in the making.
pub(super) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(super) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(
        mut self,
        kind: tar::EntryType,
        path: &str,
        owner: (u64, u64),
        mode: u32,
        data: &[u8],
        link: &str,
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        if link.len() > 100 {
            self.0.append_link(&mut header, path, link).unwrap();
            return self;
        }
        if !link.is_empty() {
            header.set_link_name_literal(link).unwrap();
        }
        if path.len() < 100 {
            // Literally, as the builder refuses what layers may well have.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            self.0.append(&header, data).unwrap();
        } else {
            self.0.append_data(&mut header, path, data).unwrap();
        }
        self
    }

    pub(super) fn file(self, path: &str, data: &str) -> Self {
        self.owned(path, (0, 0), 0o644, data)
    }

    pub(super) fn owned(self, path: &str, owner: (u64, u64), mode: u32, data: &str) -> Self {
        self.entry(
            tar::EntryType::Regular,
            path,
            owner,
            mode,
            data.as_bytes(),
            "",
        )
    }

    pub(super) fn directory(self, path: &str) -> Self {
        self.mode(path, (0, 0), 0o755)
    }

    pub(super) fn mode(self, path: &str, owner: (u64, u64), mode: u32) -> Self {
        self.entry(tar::EntryType::Directory, path, owner, mode, b"", "")
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, path, (0, 0), 0o777, b"", target)
    }

    pub(super) fn link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, path, (0, 0), 0o644, b"", target)
    }

    pub(super) fn device(self, path: &str) -> Self {
        self.entry(tar::EntryType::Char, path, (0, 0), 0o600, b"", "")
    }

    /// PAX records for the entry that comes next.
    pub(super) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0
            .append_pax_extensions(records.iter().copied())
            .unwrap();
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
