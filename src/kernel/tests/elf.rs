//! Object files by hand, of either class and byte order, and what is read from them.

use std::io::Write;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::module;
use crate::kernel::ModuleInfo;

/// A module to be written as an object file.
#[derive(Clone)]
pub(super) struct Module {
    fields: Vec<u8>,
    needs: Vec<String>,
    exports: Vec<u8>,
    wide: bool,
    little: bool,
}

/// Section types and a symbol's place (ELF gABI).
const SHT_PROGBITS: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const SHT_STRTAB: u64 = 3;

impl Module {
    pub(super) fn new(fields: &[&str]) -> Self {
        Self {
            fields: fields
                .iter()
                .flat_map(|field| [field.as_bytes(), b"\0"].concat())
                .collect(),
            needs: Vec::new(),
            exports: Vec::new(),
            wide: true,
            little: true,
        }
    }

    /// The same, calling these functions of others.
    pub(super) fn needs(mut self, symbols: &[&str]) -> Self {
        self.needs = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        self
    }

    /// The same, with these functions for others.
    pub(super) fn exports(mut self, symbols: &[&str]) -> Self {
        self.exports = symbols
            .iter()
            .flat_map(|name| [name.as_bytes(), b"\0"].concat())
            .collect();
        self
    }

    /// The same, of 64 or 32 bits and of that byte order.
    fn of_class(mut self, wide: bool, little: bool) -> Self {
        (self.wide, self.little) = (wide, little);
        self
    }

    /// A number in the file's byte order.
    fn number(&self, value: u64, len: usize) -> Vec<u8> {
        match self.little {
            true => value.to_le_bytes()[..len].to_vec(),
            false => value.to_be_bytes()[8 - len..].to_vec(),
        }
    }

    /// The object file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let word = if self.wide { 8 } else { 4 };
        let mut strings = vec![0];
        let mut symbols = vec![0; if self.wide { 24 } else { 16 }];
        for name in &self.needs {
            let at = self.number(strings.len() as u64, 4);
            strings.extend([name.as_bytes(), b"\0"].concat());
            // Global, without a type, undefined.
            let kind = [0x10, 0, 0, 0];
            symbols.extend(match self.wide {
                true => [&at[..], &kind, &[0; 16]].concat(),
                false => [&at[..], &[0; 8], &kind].concat(),
            });
        }
        let names = b"\0.modinfo\0__ksymtab_strings\0.symtab\0.strtab\0.shstrtab\0";
        let sections: [(&[u8], u64, &[u8]); 5] = [
            (b".modinfo", SHT_PROGBITS, &self.fields),
            (b"__ksymtab_strings", SHT_PROGBITS, &self.exports),
            (b".symtab", SHT_SYMTAB, &symbols),
            (b".strtab", SHT_STRTAB, &strings),
            (b".shstrtab", SHT_STRTAB, names),
        ];
        let header_len = if self.wide { 64 } else { 52 };
        let entry_len = if self.wide { 64 } else { 40 };
        let mut data = Vec::new();
        let mut table = vec![0; entry_len];
        for (name, kind, content) in sections {
            data.resize(data.len().next_multiple_of(8), 0);
            let place = names
                .windows(name.len())
                .position(|part| part == name)
                .unwrap();
            let is_symbols = kind == SHT_SYMTAB;
            table.extend(self.number(place as u64, 4));
            table.extend(self.number(kind, 4));
            for value in [0, 0, (header_len + data.len()) as u64, content.len() as u64] {
                table.extend(self.number(value, word));
            }
            table.extend(self.number(if is_symbols { 4 } else { 0 }, 4));
            table.extend(self.number(u64::from(is_symbols), 4));
            table.extend(self.number(8, word));
            let entry = if self.wide { 24 } else { 16 };
            table.extend(self.number(if is_symbols { entry } else { 0 }, word));
            data.extend(content);
        }
        data.resize(data.len().next_multiple_of(8), 0);
        let class = if self.wide { 2 } else { 1 };
        let order = if self.little { 1 } else { 2 };
        let mut file = vec![0x7f, b'E', b'L', b'F', class, order, 1];
        file.resize(16, 0);
        file.extend(self.number(1, 2)); // relocatable
        file.extend(self.number(if self.wide { 62 } else { 3 }, 2)); // x86
        file.extend(self.number(1, 4));
        for value in [0, 0, (header_len + data.len()) as u64] {
            file.extend(self.number(value, word));
        }
        file.extend(self.number(0, 4));
        for value in [header_len, 0, 0, entry_len, 6, 5] {
            file.extend(self.number(value as u64, 2));
        }
        assert_eq!(file.len(), header_len);
        [file, data, table].concat()
    }
}

fn sample() -> Module {
    module(&[
        "name=a",
        "firmware=f/1",
        "firmware=f/2",
        "depends=b,c",
        "softdep=pre: d",
    ])
    .needs(&["printk", "b_init"])
}

#[test]
fn every_class_and_byte_order_is_read() {
    for (wide, little) in [(true, true), (true, false), (false, true), (false, false)] {
        let info = ModuleInfo::read(&sample().of_class(wide, little).bytes()).unwrap();
        assert_eq!(info.vermagic(), Some("6.1.0-test SMP mod_unload "));
        assert_eq!(info.release(), Some("6.1.0-test"));
        assert_eq!(info.all("firmware").collect::<Vec<_>>(), ["f/1", "f/2"]);
        assert_eq!(info.depends().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(info.get("softdep"), Some("pre: d"));
        assert_eq!(info.undefined, ["b_init", "printk"]);
        assert!(!info.signed);
    }
}

#[test]
fn signatures_and_compression_are_seen_through() {
    let signed = [
        sample().bytes(),
        b"pkcs7~Module signature appended~\n".to_vec(),
    ]
    .concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&signed).unwrap();
    let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&signed).unwrap();
    let files = [
        signed.clone(),
        gzip.finish().unwrap(),
        xz.finish().unwrap(),
        zstd::bulk::compress(&signed, 1).unwrap(),
    ];
    for file in files {
        let info = ModuleInfo::read(&file).unwrap();
        assert!(info.signed);
        assert_eq!(info.get("name"), Some("a"));
        if file[0] != 0x7f {
            assert!(ModuleInfo::read(&file[..file.len() - 9]).is_err());
        }
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let message = |bytes: &[u8]| format!("{:#}", ModuleInfo::read(bytes).unwrap_err());
    assert!(message(b"text").starts_with("reading the object file"));
    assert!(message(b"").starts_with("reading the object file"));
    let mut bytes = sample().bytes();
    let at = bytes
        .windows(8)
        .position(|part| part == b".modinfo")
        .unwrap();
    bytes[at] = b'x';
    assert_eq!(message(&bytes), "the object file has no section .modinfo");
    let large = module(&["x"; 3 << 20]).bytes();
    assert!(message(&large).starts_with("section .modinfo has"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_modules_never_panic(
        wide in any::<bool>(),
        little in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample().of_class(wide, little).bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = ModuleInfo::read(&bytes);
        let _ = ModuleInfo::read(&bytes[..length.index(bytes.len())]);
    }
}
