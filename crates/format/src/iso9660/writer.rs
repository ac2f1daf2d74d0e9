//! Lays a volume out and writes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use zerocopy::{FromZeros, IntoBytes};

use super::boot::{self, BootEntry};
use super::date::Date;
use super::format::{
    BOOT_INFO_AT, BOOT_SYSTEM_ID, BootDescriptor, Both16, Both32, DESCRIPTOR_BOOT, DESCRIPTOR_END,
    DESCRIPTOR_PRIMARY, DESCRIPTOR_SUPPLEMENTARY, DescriptorHead, ESCAPE_JOLIET, FIRST_DESCRIPTOR,
    GRUB_REST_AT, LongDate, SECTOR, ShortDate, TreeDescriptor,
};
use super::hierarchy::{Extent, Hierarchy, Kind, Places};
use super::names;
use super::paths::Paths;
use bake_tree::Content;

/// Who made the volume.
const APPLICATION: &str = "COREOS-BAKE";

/// Whose conventions the system area follows; what mkisofs says on Linux.
const SYSTEM: &str = "LINUX";

/// Longest volume id; it is also the file system's label.
pub const MAX_ID: usize = 32;

/// Longest id of a set of volumes.
pub const MAX_SET_ID: usize = 128;

/// What short dates can say: 1900-01-01 to 2155-12-31, in Unix seconds.
const DATES: std::ops::RangeInclusive<i64> = -2_208_988_800..=5_869_583_999;

/// Copied at a time.
const CHUNK: usize = 1 << 20;

/// An ISO 9660 volume with Rock Ridge, Joliet and, if there are images to boot, El Torito.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Volume id, the label by which the medium is found: up to [`MAX_ID`] characters. Joliet keeps
    /// the first 16.
    pub id: String,
    /// Id of the set of volumes: up to [`MAX_SET_ID`] characters. Joliet keeps the first 64.
    pub set_id: String,
    /// The date of everything on the volume, in seconds since 1970.
    pub time: i64,
    /// Contents by path, such as `images/pxeboot/vmlinuz`; directories follow from the paths.
    pub files: BTreeMap<String, Content>,
    /// Images that firmware boots, in the catalog's order; the first is the default one.
    pub boot: Vec<BootEntry>,
    /// Path of the boot catalog, which must not be among the files; without a path it is there all
    /// the same, but has no name. Ignored if there is nothing to boot.
    pub catalog: Option<String>,
}

/// A volume with a place for everything.
#[derive(Debug)]
pub struct Layout<'a> {
    volume: &'a Volume,
    files: Vec<(&'a str, &'a Content)>,
    /// The volume up to the first file, the system area included.
    metadata: Vec<u8>,
    map: Map,
}

/// Where everything lies.
#[derive(Clone, Debug, Default, PartialEq)]
struct Map {
    primary: TreeMap,
    joliet: TreeMap,
    catalog: Extent,
    /// By position in [`Paths`].
    files: Vec<Extent>,
    /// Length of the volume.
    sectors: u32,
}

/// Where one of the trees lies.
#[derive(Clone, Debug, Default, PartialEq)]
struct TreeMap {
    table_l: Extent,
    table_m: Extent,
    /// By position in [`Paths`].
    directories: Vec<Extent>,
}

impl Volume {
    /// Gives everything its place. The boot catalog comes before the files, then images to boot, then
    /// the other files in path order; so what changes behind an image changes neither the image's
    /// place nor the catalog.
    pub fn layout(&self) -> Result<Layout<'_>> {
        check_id("volume id", &self.id, MAX_ID)?;
        check_id("volume set id", &self.set_id, MAX_SET_ID)?;
        let catalog = match self.boot.is_empty() {
            true => None,
            false => self.catalog.as_deref(),
        };
        let paths = Paths::new(&self.files, catalog)?;
        let images = self.images(&paths)?;
        let date = short_date(self.time);
        let name = |kind| {
            Hierarchy::new(kind, &paths, date)
                .context("an ISO can't have more than 65535 directories")
        };
        let draft = Draft {
            volume: self,
            primary: name(Kind::Primary)?,
            joliet: name(Kind::Joliet)?,
            images: &images,
        };
        // Lengths don't depend on places: what is rendered without places finds them.
        let (blank, mut map) = draft.render(&Map {
            files: vec![Extent::default(); paths.files.len()],
            ..Map::default()
        })?;
        let others = (0..paths.files.len()).filter(|file| !images.contains(file));
        let mut end = sectors(blank.len())?;
        for file in images.iter().copied().chain(others) {
            let extent = &mut map.files[file];
            // An image may have several entries in the catalog.
            if *extent == Extent::default() {
                *extent = place(end, paths.files[file].1.len())?;
                if extent.bytes > 0 {
                    end = u32::try_from(extent.end())
                        .context("the files are too large for an ISO")?;
                }
            }
        }
        map.sectors = end;
        let (metadata, same) = draft.render(&map)?;
        assert_eq!(map, same, "places must not change lengths");
        Ok(Layout {
            volume: self,
            files: paths.files,
            metadata,
            map,
        })
    }

    /// The files to boot, in the catalog's order.
    fn images(&self, paths: &Paths<'_>) -> Result<Vec<usize>> {
        ensure!(
            self.boot.len() <= boot::MAX_ENTRIES,
            "{} images to boot are more than the {} that fit into a boot catalog",
            self.boot.len(),
            boot::MAX_ENTRIES
        );
        let find = |entry: &BootEntry| {
            let at = paths
                .files
                .binary_search_by_key(&entry.path.as_str(), |(path, _)| path)
                .ok()
                .with_context(|| format!("{}, which shall be booted, is not a file", entry.path))?;
            let bytes = paths.files[at].1.len();
            ensure!(
                bytes >= entry.least_bytes(),
                "{}, which shall be booted, has only {bytes} bytes",
                entry.path
            );
            Ok(at)
        };
        self.boot.iter().map(find).collect()
    }
}

/// A volume with names, but without places.
struct Draft<'a> {
    volume: &'a Volume,
    primary: Hierarchy<'a>,
    joliet: Hierarchy<'a>,
    images: &'a [usize],
}

impl Draft<'_> {
    /// All that lies before the files, with the places in `map`; and a map of where it was put.
    fn render(&self, map: &Map) -> Result<(Vec<u8>, Map)> {
        let mut bytes = vec![0; FIRST_DESCRIPTOR as usize * SECTOR as usize];
        bytes.extend_from_slice(self.primary_descriptor(map).as_bytes());
        if !self.images.is_empty() {
            bytes.extend_from_slice(boot_descriptor(map.catalog.sector).as_bytes());
        }
        bytes.extend_from_slice(self.joliet_descriptor(map).as_bytes());
        bytes.extend_from_slice(DescriptorHead::new(DESCRIPTOR_END).as_bytes());

        let mut put = |part: Vec<u8>| -> Result<Extent> {
            let start = sectors(bytes.len())?;
            bytes.resize(start as usize * SECTOR as usize, 0);
            bytes.extend_from_slice(&part);
            place(start, part.len() as u64)
        };
        let mut found = map.clone();
        let trees = [
            (&self.primary, &map.primary, &mut found.primary),
            (&self.joliet, &map.joliet, &mut found.joliet),
        ];
        for (tree, known, found) in trees {
            let places = Places {
                directories: &known.directories,
                files: &map.files,
                catalog: map.catalog,
            };
            found.table_l = put(tree.path_table_l(places))?;
            found.table_m = put(tree.path_table_m(places))?;
            found.directories.resize(tree.len(), Extent::default());
            for id in tree.order() {
                found.directories[id] = put(tree.directory(id, places))?;
            }
        }
        if !self.images.is_empty() {
            let images: Vec<_> = self
                .volume
                .boot
                .iter()
                .zip(self.images.iter().map(|file| map.files[*file]))
                .collect();
            found.catalog = put(boot::catalog(&images))?;
        }
        let end = sectors(bytes.len())?;
        bytes.resize(end as usize * SECTOR as usize, 0);
        Ok((bytes, found))
    }

    fn primary_descriptor(&self, map: &Map) -> TreeDescriptor {
        TreeDescriptor {
            system_id: padded(SYSTEM),
            volume_id: padded(&self.volume.id),
            set_id: padded(&self.volume.set_id),
            publisher: padded(""),
            preparer: padded(""),
            application: padded(APPLICATION),
            copyright_file: padded(""),
            abstract_file: padded(""),
            bibliographic_file: padded(""),
            ..self.descriptor(DESCRIPTOR_PRIMARY, &self.primary, &map.primary, map)
        }
    }

    fn joliet_descriptor(&self, map: &Map) -> TreeDescriptor {
        let mut escapes = [0; 32];
        escapes[..ESCAPE_JOLIET.len()].copy_from_slice(&ESCAPE_JOLIET);
        TreeDescriptor {
            escapes,
            system_id: padded_wide(SYSTEM),
            volume_id: padded_wide(&self.volume.id),
            set_id: padded_wide(&self.volume.set_id),
            publisher: padded_wide(""),
            preparer: padded_wide(""),
            application: padded_wide(APPLICATION),
            copyright_file: padded_wide(""),
            abstract_file: padded_wide(""),
            bibliographic_file: padded_wide(""),
            ..self.descriptor(DESCRIPTOR_SUPPLEMENTARY, &self.joliet, &map.joliet, map)
        }
    }

    /// What both descriptors have.
    fn descriptor(
        &self,
        kind: u8,
        tree: &Hierarchy<'_>,
        at: &TreeMap,
        map: &Map,
    ) -> TreeDescriptor {
        let places = Places {
            directories: &at.directories,
            files: &map.files,
            catalog: map.catalog,
        };
        let date = long_date(self.volume.time);
        TreeDescriptor {
            head: DescriptorHead::new(kind),
            sectors: Both32::new(map.sectors),
            volumes: Both16::new(1),
            volume: Both16::new(1),
            sector_bytes: Both16::new(SECTOR as u16),
            path_table_bytes: Both32::new(at.table_l.bytes),
            path_table_l: at.table_l.sector.into(),
            path_table_m: at.table_m.sector.into(),
            root: tree.root(places),
            created: date,
            modified: date,
            expires: LongDate {
                digits: [b'0'; 16],
                zone: 0,
            },
            effective: date,
            structure_version: 1,
            ..TreeDescriptor::new_zeroed()
        }
    }
}

fn boot_descriptor(catalog: u32) -> BootDescriptor {
    let mut descriptor = BootDescriptor {
        head: DescriptorHead::new(DESCRIPTOR_BOOT),
        catalog: catalog.into(),
        ..BootDescriptor::new_zeroed()
    };
    descriptor.system_id[..BOOT_SYSTEM_ID.len()].copy_from_slice(BOOT_SYSTEM_ID);
    descriptor
}

impl Layout<'_> {
    /// Length of the volume in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.map.sectors) * SECTOR
    }

    /// Where the file at `path` lies: its offset from the start of the volume and its length, in
    /// bytes. Empty files lie nowhere: at offset 0.
    pub fn extent(&self, path: &str) -> Option<(u64, u64)> {
        let at = self
            .files
            .binary_search_by_key(&path, |(path, _)| path)
            .ok()?;
        let extent = self.map.files[at];
        Some((extent.offset(), extent.bytes.into()))
    }

    /// Writes the volume over whatever `out` holds; `progress` is told how many bytes more are
    /// written, [`Layout::bytes`] in all.
    pub fn write(&self, out: &File, progress: &dyn Fn(u64)) -> Result<()> {
        out.set_len(0)
            .and_then(|()| out.set_len(self.bytes()))
            .and_then(|()| out.write_all_at(&self.metadata, 0))
            .context("writing directories of the ISO")?;
        progress(self.metadata.len() as u64);
        let mut buffer = vec![0; CHUNK];
        for ((path, content), extent) in self.files.iter().zip(&self.map.files) {
            copy(content, out, extent.offset(), &mut buffer, progress)
                .with_context(|| format!("writing {path} to the ISO"))?;
            let padding = content.len().next_multiple_of(SECTOR) - content.len();
            progress(padding);
        }
        for entry in &self.volume.boot {
            self.write_boot_info(entry, out)
                .with_context(|| format!("writing the boot info table of {}", entry.path))?;
        }
        Ok(())
    }

    fn write_boot_info(&self, entry: &BootEntry, out: &File) -> Result<()> {
        let content = &self.volume.files[&entry.path];
        let (offset, _) = self.extent(&entry.path).expect("found when laid out");
        let extent = Extent {
            sector: (offset / SECTOR) as u32,
            bytes: content.len() as u32,
        };
        let rest = entry.grub_boot_info.then(|| boot::grub_rest(extent));
        if entry.boot_info_table {
            let info = boot::boot_info(content, extent, rest)?;
            out.write_all_at(info.as_bytes(), offset + BOOT_INFO_AT)?;
        }
        if let Some(rest) = rest {
            out.write_all_at(rest.as_bytes(), offset + GRUB_REST_AT)?;
        }
        Ok(())
    }
}

fn copy(
    content: &Content,
    out: &File,
    offset: u64,
    buffer: &mut [u8],
    progress: &dyn Fn(u64),
) -> std::io::Result<()> {
    let mut done = 0;
    while done < content.len() {
        let left = usize::try_from(content.len() - done).unwrap_or(usize::MAX);
        let part = &mut buffer[..left.min(CHUNK)];
        content.read_at(done, part)?;
        out.write_all_at(part, offset + done)?;
        done += part.len() as u64;
        progress(part.len() as u64);
    }
    Ok(())
}

/// How many sectors that many bytes take.
fn sectors(bytes: usize) -> Result<u32> {
    u32::try_from((bytes as u64).div_ceil(SECTOR)).context("there are too many files for an ISO")
}

/// The place of `bytes` at `sector`; of none, there is none.
fn place(sector: u32, bytes: u64) -> Result<Extent> {
    let bytes = u32::try_from(bytes).context("there are too many files for an ISO")?;
    Ok(match bytes {
        0 => Extent::default(),
        _ => Extent { sector, bytes },
    })
}

/// Refuses ids that coreos-installer would not read: it takes ECMA-119's a-characters and lower
/// case.
fn check_id(what: &str, id: &str, most: usize) -> Result<()> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "_ !\"%&'()*+,-./:;<=>?".contains(c);
    if let Some(bad) = id.chars().find(|c| !is_good(*c)) {
        bail!("the {what} {id:?} holds {bad:?}, which an ISO can't store");
    }
    ensure!(
        id.len() <= most,
        "the {what} {id:?} is longer than {most} characters"
    );
    Ok(())
}

/// The text filled with spaces, cut where it is too long.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [b' '; N];
    let length = text.len().min(N);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

/// The text in big-endian UCS-2 filled with spaces, cut where it is too long. Where the length is
/// odd, the last byte is zero.
fn padded_wide<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let spaces = std::iter::repeat([0, b' ']).flatten();
    let text = names::ucs2(text).into_iter().chain(spaces);
    for (place, byte) in bytes[..N / 2 * 2].iter_mut().zip(text) {
        *place = byte;
    }
    bytes
}

fn short_date(time: i64) -> ShortDate {
    let date = Date::from_unix(time.clamp(*DATES.start(), *DATES.end()));
    ShortDate {
        // 0 to 255 between those dates.
        years_from_1900: (date.year - 1900) as u8,
        month: date.month,
        day: date.day,
        hour: date.hour,
        minute: date.minute,
        second: date.second,
        zone: 0,
    }
}

fn long_date(time: i64) -> LongDate {
    let date = Date::from_unix(time.clamp(*DATES.start(), *DATES.end()));
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}00",
        date.year, date.month, date.day, date.hour, date.minute, date.second
    );
    LongDate {
        digits: text
            .into_bytes()
            .try_into()
            .expect("years have four digits between those dates"),
        zone: 0,
    }
}
