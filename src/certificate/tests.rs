use std::time::Duration;

use super::certificates;

/// Valid in 2024 on the first of January.
const OLD: &str = "-----BEGIN CERTIFICATE-----
MIIBKTCBzwIBATAKBggqhkjOPQQDAjAmMRAwDgYDVQQDDAdyb290LWNhMRIwEAYD
VQQLDAlvcGVuc2hpZnQwHhcNMjQwMTAxMDAwMDAwWhcNMjQwMTAyMDAwMDAwWjAb
MRkwFwYDVQQDDBBzeXN0ZW06Ym9vdHN0cmFwMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEOvkU4icpdajAC+osyZLeGVA4+wyIo6/gUYrjXU0Jb3d5H7cgg2Gqo64M
KBQEcgM32aRieHprQZJUzqmAaTnvWDAKBggqhkjOPQQDAgNJADBGAiEAgwuF20I5
0FOuptQrxUf6T3NVXrYWuTcFXIjMZPghbb4CIQDhAeyiOxFeK9K8YsUuuEFXzUPj
bNQ/inrsL0G9Q9kg5g==
-----END CERTIFICATE-----
";

/// The same until 2124, which is written in another way.
const NEW: &str = "-----BEGIN CERTIFICATE-----
MIIBKDCBzwIBAjAKBggqhkjOPQQDAjAmMRAwDgYDVQQDDAdyb290LWNhMRIwEAYD
VQQLDAlvcGVuc2hpZnQwIBcNMjYwMTAxMDAwMDAwWhgPMjEyNDAxMDEwMDAwMDBa
MBkxFzAVBgNVBAMMDmt1YmVsZXQtc2lnbmVyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEOvkU4icpdajAC+osyZLeGVA4+wyIo6/gUYrjXU0Jb3d5H7cgg2Gqo64M
KBQEcgM32aRieHprQZJUzqmAaTnvWDAKBggqhkjOPQQDAgNIADBFAiEA69Qjb9gX
YcT178AxLNIbFziBsAuLfgvt44D2YavDPPsCIGWA/qgrjq4oxenQDW5nqUj1mgBs
zveazL39g7DqvhaA
-----END CERTIFICATE-----
";

#[test]
fn a_certificate_says_whose_it_is_and_until_when() {
    // `openssl x509 -subject -startdate -enddate` and `date -d … +%s` say so.
    let old = ("CN=system:bootstrap", 1_704_067_200, 1_704_153_600);
    let new = ("CN=kubelet-signer", 1_767_225_600, 4_859_740_800);
    for (pem, expected) in [
        (OLD.to_owned(), vec![old]),
        (NEW.to_owned(), vec![new]),
        (format!("{NEW}some text\n{OLD}"), vec![new, old]),
        (NEW.replace("MIIB", "MIIC"), vec![]),
        (NEW.replace('\n', "\r\n"), vec![new]),
        (String::new(), vec![]),
    ] {
        let found: Vec<_> = certificates(&pem).collect();
        let said: Vec<(&str, Duration, Duration)> = found
            .iter()
            .map(|found| (&*found.subject, found.from, found.until))
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(subject, from, until)| {
                (
                    subject,
                    Duration::from_secs(from),
                    Duration::from_secs(until),
                )
            })
            .collect();
        assert_eq!(said, expected, "{pem}");
    }
    // Both have the same key: a SubjectPublicKeyInfo of 91 bytes.
    let key = |pem| certificates(pem).next().unwrap().public_key;
    assert_eq!(key(OLD), key(NEW));
    assert_eq!(key(OLD).len(), 91);
    for length in 0..OLD.len() {
        // A part of one may be none, and has to do no harm.
        let _ = certificates(&OLD[..length]).count();
    }
}
