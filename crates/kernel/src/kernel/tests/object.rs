//! Object files by hand, of either class and byte order, with what depmod and modinfo look at.

/// Section types (ELF gABI).
const SHT_PROGBITS: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const SHT_STRTAB: u64 = 3;

/// Machines, and the type of a symbol that is none (SPARC ABI supplement).
pub(crate) const EM_X86_64: u64 = 62;
pub(crate) const EM_SPARCV9: u64 = 43;
pub(crate) const STT_SPARC_REGISTER: u8 = 13;

/// A module to be written as an object file.
#[derive(Clone)]
pub(crate) struct Module {
    machine: u64,
    wide: bool,
    little: bool,
    sections: Vec<(String, Vec<u8>)>,
    /// Name, type, whether it is defined.
    symbols: Vec<(String, u8, bool)>,
}

/// A module with these fields.
pub(crate) fn module(fields: &[&str]) -> Module {
    let mut module = Module {
        machine: EM_X86_64,
        wide: true,
        little: true,
        sections: Vec::new(),
        symbols: Vec::new(),
    };
    module.sections = vec![(".modinfo".to_owned(), strings(fields))];
    module
}

fn strings(all: &[&str]) -> Vec<u8> {
    all.iter()
        .flat_map(|one| [one.as_bytes(), b"\0"].concat())
        .collect()
}

impl Module {
    pub(crate) fn of(mut self, machine: u64, wide: bool, little: bool) -> Self {
        (self.machine, self.wide, self.little) = (machine, wide, little);
        self
    }

    /// With a section of these bytes.
    pub(crate) fn section(mut self, name: &str, content: Vec<u8>) -> Self {
        self.sections.push((name.to_owned(), content));
        self
    }

    /// With these symbols for others, as kernels without versions of symbols note them.
    pub(crate) fn exports(self, symbols: &[&str]) -> Self {
        self.section("__ksymtab_strings", strings(symbols))
    }

    /// With these symbols for others, as kernels with versions of symbols note them.
    pub(crate) fn exports_versions(mut self, symbols: &[&str]) -> Self {
        let names = symbols
            .iter()
            .map(|name| (format!("__crc_{name}"), 0, true));
        self.symbols.extend(names);
        self.exports(symbols)
    }

    /// With these symbols of others.
    pub(crate) fn needs(self, symbols: &[&str]) -> Self {
        symbols
            .iter()
            .fold(self, |module, name| module.undefined(name, 0))
    }

    /// With a symbol of that type that is not defined here.
    pub(crate) fn undefined(mut self, name: &str, kind: u8) -> Self {
        self.symbols.push((name.to_owned(), kind, false));
        self
    }

    /// With versions of these symbols. Call after `of`.
    pub(crate) fn versions(self, symbols: &[&str]) -> Self {
        let versions: Vec<_> = symbols.iter().map(|name| (*name, 0x1234_5678)).collect();
        self.checksums(&versions)
    }

    /// With these versions of symbols. Call after `of`.
    pub(crate) fn checksums(self, versions: &[(&str, u32)]) -> Self {
        let mut table = Vec::new();
        for (name, checksum) in versions {
            let end = table.len() + 64;
            table.extend(self.number(u64::from(*checksum), self.word()));
            table.extend(name.as_bytes());
            table.resize(end, 0);
        }
        self.section("__versions", table)
    }

    /// With these versions of symbols as kernels from 6.14 on note them. Call after `of`.
    pub(crate) fn long_checksums(self, versions: &[(&str, u32)]) -> Self {
        let checksums = versions
            .iter()
            .flat_map(|(_, checksum)| self.number(u64::from(*checksum), 4))
            .collect();
        let names: Vec<&str> = versions.iter().map(|(name, _)| *name).collect();
        self.section("__version_ext_crcs", checksums)
            .section("__version_ext_names", strings(&names))
    }

    fn word(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// A number in the file's byte order.
    fn number(&self, value: u64, len: usize) -> Vec<u8> {
        match self.little {
            true => value.to_le_bytes()[..len].to_vec(),
            false => value.to_be_bytes()[8 - len..].to_vec(),
        }
    }

    /// The object file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let symbol_len = if self.wide { 24 } else { 16 };
        let mut names = vec![0];
        let mut symbols = vec![0; symbol_len];
        for (name, kind, defined) in &self.symbols {
            let at = self.number(names.len() as u64, 4);
            names.extend([name.as_bytes(), b"\0"].concat());
            // Global; what is defined is in the first section.
            let kind = [&[0x10 | kind, 0][..], &self.number(u64::from(*defined), 2)].concat();
            symbols.extend(match self.wide {
                true => [&at[..], &kind, &[0; 16]].concat(),
                false => [&at[..], &[0; 8], &kind].concat(),
            });
        }
        let mut sections: Vec<(&str, u64, &[u8])> = Vec::new();
        for (name, content) in &self.sections {
            sections.push((name, SHT_PROGBITS, content));
        }
        let strings_at = sections.len() as u64 + 2;
        sections.push((".symtab", SHT_SYMTAB, &symbols));
        sections.push((".strtab", SHT_STRTAB, &names));
        let mut section_names = vec![0];
        for (name, ..) in &sections {
            section_names.extend([name.as_bytes(), b"\0"].concat());
        }
        section_names.extend(b".shstrtab\0");
        sections.push((".shstrtab", SHT_STRTAB, &section_names));

        let (header_len, entry_len) = if self.wide { (64, 64) } else { (52, 40) };
        let mut data = Vec::new();
        let mut table = vec![0; entry_len];
        let mut name_at = 1;
        for (name, kind, content) in &sections {
            data.resize(data.len().next_multiple_of(8), 0);
            let is_symbols = *kind == SHT_SYMTAB;
            table.extend(self.number(name_at, 4));
            name_at += name.len() as u64 + 1;
            table.extend(self.number(*kind, 4));
            let place = (header_len + data.len()) as u64;
            for value in [0, 0, place, content.len() as u64] {
                table.extend(self.number(value, self.word()));
            }
            table.extend(self.number(if is_symbols { strings_at } else { 0 }, 4));
            table.extend(self.number(u64::from(is_symbols), 4));
            let entry = if is_symbols { symbol_len as u64 } else { 0 };
            for value in [8, entry] {
                table.extend(self.number(value, self.word()));
            }
            data.extend_from_slice(content);
        }
        data.resize(data.len().next_multiple_of(8), 0);
        let class = if self.wide { 2 } else { 1 };
        let order = if self.little { 1 } else { 2 };
        let mut file = vec![0x7f, b'E', b'L', b'F', class, order, 1];
        file.resize(16, 0);
        file.extend(self.number(1, 2)); // relocatable
        file.extend(self.number(self.machine, 2));
        file.extend(self.number(1, 4));
        for value in [0, 0, (header_len + data.len()) as u64] {
            file.extend(self.number(value, self.word()));
        }
        file.extend(self.number(0, 4));
        let count = sections.len() as u64 + 1;
        for value in [header_len as u64, 0, 0, entry_len as u64, count, count - 1] {
            file.extend(self.number(value, 2));
        }
        assert_eq!(file.len(), header_len);
        [file, data, table].concat()
    }
}
