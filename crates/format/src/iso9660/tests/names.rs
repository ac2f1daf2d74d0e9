use super::super::date::Date;
use super::super::names::{check, joliet, level_1, sort_key};

/// A name, and whether it is a directory's.
type Name<'a> = (&'a str, bool);

fn identifiers(names: &[Name<'_>]) -> Vec<String> {
    level_1(names)
        .into_iter()
        .map(|name| String::from_utf8(name).unwrap())
        .collect()
}

#[test]
fn coreos_installer_finds_its_names() {
    let names = [
        ("features.json", false),
        ("igninfo.json", false),
        ("kargs.json", false),
        ("miniso.dat", false),
        ("initrd.img", false),
        ("rootfs.img", false),
        ("vmlinuz", false),
        ("grub.cfg", false),
        ("isolinux.cfg", false),
        ("coreos", true),
        ("images", true),
        ("pxeboot", true),
        ("EFI", true),
        ("debian", true),
        ("isolinux", true),
    ];
    let expected = [
        "FEATURES.JSO;1",
        "IGNINFO.JSO;1",
        "KARGS.JSO;1",
        "MINISO.DAT;1",
        "INITRD.IMG;1",
        "ROOTFS.IMG;1",
        "VMLINUZ.;1",
        "GRUB.CFG;1",
        "ISOLINUX.CFG;1",
        "COREOS",
        "IMAGES",
        "PXEBOOT",
        "EFI",
        "DEBIAN",
        "ISOLINUX",
    ];
    assert_eq!(identifiers(&names), expected);
}

#[test]
fn names_are_cut_to_8_and_3() {
    let cases = [
        ("12345678.123", false, "12345678.123;1"),
        ("123456789.1234", false, "12345678.123;1"),
        ("a", false, "A.;1"),
        ("a.", false, "A.;1"),
        (".profile", false, "_PROFILE.;1"),
        ("..x", false, "_.X;1"),
        ("a.tar.gz", false, "A_TAR.GZ;1"),
        ("initrd.addrsize", false, "INITRD.ADD;1"),
        ("genericdvd.prm", false, "GENERICD.PRM;1"),
        ("a b+c~d", false, "A_B_C_D.;1"),
        ("\u{fc}ml\u{e4}ut.conf", false, "_ML_UT.CON;1"),
        ("dir.d", true, "DIR_D"),
        ("123456789", true, "12345678"),
        (".hidden", true, "_HIDDEN"),
    ];
    for (name, is_directory, expected) in cases {
        assert_eq!(identifiers(&[(name, is_directory)]), [expected], "{name}");
    }
}

#[test]
fn equal_names_get_numbers() {
    let cases: [(&[Name<'_>], &[&str]); 6] = [
        // The first keeps the name.
        (
            &[
                ("abcdefghi", false),
                ("abcdefghj", false),
                ("abcdefghk", false),
            ],
            &["ABCDEFGH.;1", "ABCDE000.;1", "ABCDE001.;1"],
        ),
        // One that fits keeps it even if it is not the first.
        (
            &[("kargs.json", false), ("kargs.jso", false)],
            &["KARGS000.JSO;1", "KARGS.JSO;1"],
        ),
        (
            &[("README", false), ("readme", false)],
            &["README.;1", "READM000.;1"],
        ),
        // A number that is somebody's name is not used.
        (
            &[
                ("abcde000", false),
                ("abcdefgh1", false),
                ("abcdefgh2", false),
            ],
            &["ABCDE000.;1", "ABCDEFGH.;1", "ABCDE001.;1"],
        ),
        // Files and directories share the names.
        (&[("a", true), ("A", false)], &["A", "A000.;1"]),
        (
            &[("x.abcd", false), ("x.abce", false)],
            &["X.ABC;1", "X000.ABC;1"],
        ),
    ];
    for (names, expected) in cases {
        assert_eq!(identifiers(names), expected, "{names:?}");
    }
}

#[test]
fn thousands_of_equal_names_get_longer_numbers() {
    let names: Vec<String> = (0..1102).map(|n| format!("samestart{n:04}")).collect();
    let list: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
    let short = identifiers(&list);
    assert_eq!(short[0], "SAMESTAR.;1");
    assert_eq!(short[1], "SAMES000.;1");
    assert_eq!(short[1000], "SAMES999.;1");
    assert_eq!(short[1001], "SAME1000.;1");
    let mut distinct = short.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn joliet_keeps_names() {
    let [file, directory]: [Vec<u8>; 2] = joliet(&[("\u{fc}.b", false), ("d", true)])
        .try_into()
        .unwrap();
    assert_eq!(file, [0, 0xfc, 0, b'.', 0, b'b', 0, b';', 0, b'1']);
    assert_eq!(directory, [0, b'd']);
}

#[test]
fn records_are_sorted_as_the_standard_says() {
    let sorted = ["A.;1", "A.B;1", "A_B", "AA", "AA.A;1", "B"];
    let mut shuffled = ["B", "AA.A;1", "A_B", "A.B;1", "AA", "A.;1"];
    shuffled.sort_by_key(|name| sort_key(name.as_bytes(), false));
    // A_B sorts behind AA: the underscore comes after letters.
    let mut expected = sorted;
    expected.swap(2, 3);
    expected[3..5].swap(0, 1);
    assert_eq!(shuffled, expected);
}

#[test]
fn what_joliet_cannot_hold_is_refused() {
    let wide = "\u{4f60}".repeat(46);
    for name in ["a", "a b", &"x".repeat(103), &wide, "..."] {
        assert!(check(name).is_ok(), "{name}");
    }
    let long = "x".repeat(104);
    let wide = "\u{4f60}".repeat(47);
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a:b",
        "a;1",
        "a*",
        "a?",
        "a\\b",
        "a\nb",
        "a\0",
        "\u{1f600}",
        &long,
        &wide,
    ] {
        assert!(check(name).is_err(), "{name:?}");
    }
}

#[test]
fn dates() {
    let date = |year, month, day, hour, minute, second| Date {
        year,
        month,
        day,
        hour,
        minute,
        second,
    };
    let cases = [
        (0, date(1970, 1, 1, 0, 0, 0)),
        (-1, date(1969, 12, 31, 23, 59, 59)),
        (951_782_400, date(2000, 2, 29, 0, 0, 0)),
        (951_868_800, date(2000, 3, 1, 0, 0, 0)),
        (1_709_251_199, date(2024, 2, 29, 23, 59, 59)),
        (1_767_225_599, date(2025, 12, 31, 23, 59, 59)),
        (4_107_542_399, date(2100, 2, 28, 23, 59, 59)),
        (4_107_542_400, date(2100, 3, 1, 0, 0, 0)),
        (-2_208_988_800, date(1900, 1, 1, 0, 0, 0)),
        (5_869_583_999, date(2155, 12, 31, 23, 59, 59)),
    ];
    for (seconds, expected) in cases {
        assert_eq!(Date::from_unix(seconds), expected, "{seconds}");
    }
    // Whatever comes from a command line.
    Date::from_unix(i64::MIN);
    Date::from_unix(i64::MAX);
}
