//! The status page: plain HTML that a text browser of 80 columns shows as well.

use std::fmt::Write;

use super::status::{HostStatus, Phase, Refusal, Status, ago};

/// Style only; nothing on the page needs a script. On a telephone each row of the table is a block, and
/// each cell a line of it.
const STYLE: &str = "
:root{color-scheme:light dark}
body{font:1rem/1.4 system-ui,sans-serif;margin:1rem;max-width:75rem;overflow-wrap:break-word}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8888}
td code,td span,[data-name=Heard]{white-space:nowrap}
th[scope=row],[data-name=Role]{overflow-wrap:anywhere;min-width:7rem}
small{display:block;opacity:.8}
progress{width:7rem;max-width:100%}
dt{font-weight:bold}
dd{margin:0 0 .4rem}
@media (min-width:60rem){
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}
dd{margin:0}
}
@media (max-width:59.99rem){
thead{display:none}
table,tbody,tr,th,td{display:block}
tr{border-bottom:2px solid #8888;padding:.5rem 0}
th,td{border:0;padding:.1rem 0}
td[data-name]{padding-left:6rem;min-height:1.4em}
td[data-name]::before{content:attr(data-name);float:left;margin-left:-6rem;opacity:.8}
td:empty{display:none}
}
";

/// What anybody may know of `status`.
pub(super) fn totals(status: &Status) -> String {
    let title = escaped(&status.title);
    let all = match status.hosts.len() {
        1 => "1 host".to_owned(),
        all => format!("{all} hosts"),
    };
    let body = format!(
        "<p>{all}, {} done.</p>\n\
         <p>Which they are is for the operator: open the status URL that the server printed at its start.</p>\n",
        status.done()
    );
    whole(&title, &body)
}

/// The page that shows `status`. Its link to the same as JSON has the `query` that this page was asked
/// for with.
pub(super) fn html(status: &Status, query: Option<&str>) -> String {
    let title = escaped(&status.title);
    let mut rows = String::new();
    for host in &status.hosts {
        row(&mut rows, host, status.now);
    }
    if rows.is_empty() {
        rows.push_str("<tr><td colspan=\"6\">No machine has asked yet.</td></tr>\n");
    }
    let states: String = Phase::ALL
        .iter()
        .map(|phase| format!("<dt>{phase}</dt><dd>{}.</dd>\n", capitalised(phase.about())))
        .collect();
    let query = query.map_or_else(String::new, |query| format!("?{}", escaped(query)));
    let body = format!(
        "<p>Server: <code>{url}</code></p>\n\
         <p>{counts} <a href=\"/status.json{query}\">As JSON</a></p>\n\
         <table>\n\
         <thead><tr><th scope=\"col\">Host</th><th scope=\"col\">Role</th>\
         <th scope=\"col\">Address</th><th scope=\"col\">State</th>\
         <th scope=\"col\">Progress</th><th scope=\"col\">Heard</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n\
         </table>\n\
         <h2>States</h2>\n\
         <dl>\n{states}</dl>\n",
        url = escaped(&status.url),
        counts = counts(status),
    );
    whole(&title, &body)
}

/// A page that is shown anew every few seconds.
fn whole(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n\
         <title>{title}: boots</title>\n\
         <style>{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <main>\n\
         <h1>{title}</h1>\n\
         {body}\
         </main>\n\
         </body>\n\
         </html>\n"
    )
}

fn counts(status: &Status) -> String {
    let all = match status.hosts.len() {
        1 => "1 host".to_owned(),
        all => format!("{all} hosts"),
    };
    format!(
        "{all}: {} heard of, {} done.",
        status.heard(),
        status.done()
    )
}

fn row(rows: &mut String, host: &HostStatus, now: u64) {
    let role = match (&host.role, host.declared) {
        (Some(role), _) => escaped(role),
        (None, true) => String::new(),
        (None, false) => "not declared".to_owned(),
    };
    let macs: Vec<String> = host
        .macs
        .iter()
        .map(|mac| format!("<code>{}</code>", escaped(mac)))
        .collect();
    let address = match host.client {
        Some(client) => format!("{}<br>{client}", macs.join("<br>")),
        None => macs.join("<br>"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        rows,
        "<tr><th scope=\"row\">{name}</th><td data-name=\"Role\">{role}</td>\
         <td data-name=\"Address\">{address}</td>\
         <td data-name=\"State\">{phase}<small>{about}</small>{refused}</td>\
         <td data-name=\"Progress\">{progress}</td><td data-name=\"Heard\">{heard}</td></tr>",
        name = escaped(&host.name),
        phase = host.phase,
        about = host.phase.about(),
        refused = refused(host, now),
        progress = progress(host),
        heard = host.heard(now),
    );
}

/// Who else asked for what is the host's.
fn refused(host: &HostStatus, now: u64) -> String {
    let one = |refusal: &Refusal| {
        format!(
            "<small><b>Refused</b>: {client} asked for {asked}, {heard}: {reason}</small>",
            client = refusal.client,
            asked = refusal.asked,
            heard = ago(now, refusal.last),
            reason = escaped(&refusal.reason),
        )
    };
    host.refused.iter().map(one).collect()
}

/// The last step that has bytes.
fn progress(host: &HostStatus) -> String {
    let Some(step) = host.transfer() else {
        return String::new();
    };
    format!(
        "<progress max=\"{total}\" value=\"{sent}\" aria-label=\"{what}\"></progress> <span>{percent} % of {size}</span>",
        total = step.bytes_total,
        sent = step.bytes_sent.min(step.bytes_total),
        what = Phase::from(step.step),
        percent = step.percent(),
        size = size(step.bytes_total),
    )
}

/// A sentence of a phrase.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
