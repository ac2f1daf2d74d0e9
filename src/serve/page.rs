//! The status page: plain HTML that a text browser of 80 columns shows as well.

use std::fmt::Write;

use super::status::{HostStatus, Phase, Status};

/// Style only; nothing on the page needs a script.
const STYLE: &str = ":root{color-scheme:light dark}\
body{font:1rem/1.4 system-ui,sans-serif;margin:1.5rem;max-width:70rem}\
table{border-collapse:collapse;width:100%}\
caption{text-align:left;padding:.5rem 0}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8888}\
td code{white-space:nowrap}progress{width:8rem}";

/// The page that shows `status`.
pub(super) fn html(status: &Status) -> String {
    let title = escaped(&status.title);
    let mut rows = String::new();
    for host in &status.hosts {
        row(&mut rows, host, status.now);
    }
    if rows.is_empty() {
        rows.push_str("<tr><td colspan=\"5\">No machine has asked yet.</td></tr>\n");
    }
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
         <table>\n\
         <caption>{caption} <a href=\"/status.json\">As JSON</a></caption>\n\
         <thead><tr><th scope=\"col\">Host</th><th scope=\"col\">Address</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Progress</th>\
         <th scope=\"col\">Heard</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n\
         </table>\n\
         </main>\n\
         </body>\n\
         </html>\n",
        caption = caption(status),
    )
}

fn caption(status: &Status) -> String {
    let heard = status
        .hosts
        .iter()
        .filter(|host| host.last_heard.is_some())
        .count();
    match status.hosts.len() {
        1 => format!("{heard} of 1 host was heard of."),
        all => format!("{heard} of {all} hosts were heard of."),
    }
}

fn row(rows: &mut String, host: &HostStatus, now: u64) {
    let role = match (&host.role, host.declared) {
        (Some(role), _) => format!(" ({})", escaped(role)),
        (None, true) => String::new(),
        (None, false) => " (not declared)".to_owned(),
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
    let heard = host.last_heard.map_or_else(
        || "never".to_owned(),
        |then| format!("{} ago", duration(now.saturating_sub(then))),
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        rows,
        "<tr><th scope=\"row\">{name}{role}</th><td>{address}</td><td>{phase}</td>\
         <td>{progress}</td><td>{heard}</td></tr>",
        name = escaped(&host.name),
        phase = host.phase,
        progress = progress(host),
    );
}

/// The last step that has bytes.
fn progress(host: &HostStatus) -> String {
    let Some(step) = host.steps.iter().rfind(|step| step.bytes_total > 0) else {
        return String::new();
    };
    let (sent, total) = (step.bytes_sent.min(step.bytes_total), step.bytes_total);
    let percent = u128::from(sent) * 100 / u128::from(total);
    format!(
        "<progress max=\"{total}\" value=\"{sent}\" aria-label=\"{what}\"></progress> {percent} % of {size}",
        what = Phase::from(step.step),
        size = size(total),
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
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
