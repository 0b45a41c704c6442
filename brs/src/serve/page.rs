//! The status page: one HTML document, complete as it is sent, and its middle again for updates.
//!
//! Everything shown is escaped, and the page allows itself no script and no style but its own two,
//! by a number used once. The plot is an SVG without a script: for each set a line from its whole
//! life to what was left when the next one came.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use super::history::{Point, SPAN, What};
use super::status::{Consumer, Pool, Session, Status};
use super::token::Token;

const PAGE: &str = include_str!("page.html");
/// The plot's inner size, and the room for its labels.
const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 80.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 8.0;

/// The whole page, and the policy that goes with it.
pub(super) fn whole(status: &Status) -> (String, String) {
    let nonce = Token::random();
    let page = PAGE
        .replace("{{nonce}}", nonce.expose())
        .replace("{{version}}", status.version)
        .replace("{{now}}", &status.now)
        .replace("{{main}}", &middle(status));
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        nonce.expose()
    );
    (page, policy)
}

/// What changes.
pub(super) fn middle(status: &Status) -> String {
    let mut out = String::with_capacity(16 * 1024);
    // Writing to a string does not fail.
    let _ = write_middle(&mut out, status);
    out
}

fn write_middle(out: &mut String, status: &Status) -> fmt::Result {
    out.push_str("<section aria-label=\"Sessions\"><div class=\"cards\">");
    for session in &status.sessions {
        card(out, session, status.at)?;
    }
    out.push_str("</div></section>");
    consumers(out, &status.consumers)?;
    if !status.pools.is_empty() {
        pools(out, &status.pools)?;
    }
    write!(
        out,
        "<section><p class=\"soft\">Listening on {}; started {}; {} waiting requests. Also \
         <a href=\"/status.json\">status.json</a> and <a href=\"/metrics\">metrics</a>.</p></section>",
        Escaped(&status.addresses.join(", ")),
        status.started,
        status.waiting_requests
    )
}

fn card(out: &mut String, session: &Session, now: SystemTime) -> fmt::Result {
    let state = session.state;
    write!(
        out,
        "<article><div class=\"top\"><h2>{}</h2><span class=\"pill {}\">{}{}</span></div>",
        Escaped(&session.name),
        state.class(),
        state.words(),
        if session.is_refreshing {
            ", refreshing"
        } else {
            ""
        },
    )?;
    bar(out, session)?;
    out.push_str("<dl>");
    let mut fact = |name: &str, value: Option<String>| match value {
        Some(value) => write!(out, "<dt>{name}</dt><dd>{}</dd>", Escaped(&value)),
        None => Ok(()),
    };
    let asks = if session.asks_a_person {
        ", asks a person"
    } else {
        ""
    };
    fact("Method", Some(format!("{}{asks}", session.method)))?;
    fact("Role", session.role_arn.clone())?;
    fact("Region", session.region.clone())?;
    fact("Access key id", session.access_key_id.clone())?;
    fact("Last refresh", session.last_success.clone())?;
    let failures = match session.consecutive_failures {
        0 => format!("{} failures", session.failures),
        row => format!("{} failures, {row} in a row", session.failures),
    };
    fact(
        "Refreshes",
        Some(format!("{}, {failures}", session.refreshes)),
    )?;
    fact("Next try", session.next_try.clone())?;
    let certificate = session.certificate_not_after_seconds;
    let end = certificate.map(|end| SystemTime::UNIX_EPOCH + Duration::from_secs(end));
    fact("Certificate until", end.map(super::answer::to_seconds))?;
    out.push_str("</dl>");
    if let Some(error) = &session.last_error {
        let class = if error.needs_person {
            "note bad"
        } else {
            "note"
        };
        write!(out, "<p class=\"{class}\">{}</p>", Escaped(&error.message))?;
    }
    if let Some(warning) = &session.last_warning {
        write!(out, "<p class=\"note\">{}</p>", Escaped(warning))?;
    }
    plot(out, &session.name, &session.points, now)?;
    out.push_str("</article>");
    Ok(())
}

fn bar(out: &mut String, session: &Session) -> fmt::Result {
    let Some(left) = session.left_seconds else {
        let text = match &session.access_key_id {
            Some(_) => "credentials that do not expire",
            None => "no credentials",
        };
        return write!(out, "<p class=\"soft\">{text}</p>");
    };
    let life = session.lifetime_seconds.unwrap_or(left).max(left).max(1);
    let part = (left as f64 / life as f64 * 100.0).clamp(0.0, 100.0);
    let class = match left {
        0..60 => "bad",
        60..900 if part < 20.0 => "warn",
        _ => "good",
    };
    let text = match left {
        0 => "expired".to_owned(),
        _ => format!("{} left of {}", spoken(left), spoken(life)),
    };
    write!(
        out,
        "<svg class=\"bar\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{text}\">\
         <rect class=\"track\" width=\"100\" height=\"4\"/>\
         <rect class=\"fill {class}\" width=\"{part:.1}\" height=\"4\"/>\
         </svg><p class=\"soft\">{text}, until {}</p>",
        session.expiration.as_deref().unwrap_or_default()
    )
}

/// `1 h 05 min`, `12 min`, `40 s`.
fn spoken(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

/// For the plot's axes: `6 h`, `40 min`.
fn brief(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours}:{minutes:02} h"),
    }
}

/// What was left of the sets over the last hours.
fn plot(out: &mut String, name: &str, points: &[Point], now: SystemTime) -> fmt::Result {
    let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
    let oldest = points.iter().map(|point| age(point.at)).max();
    let Some(oldest) = oldest else {
        return Ok(());
    };
    let span = [15 * 60, 3600, 3 * 3600]
        .map(Duration::from_secs)
        .into_iter()
        .find(|span| *span >= oldest)
        .unwrap_or(SPAN);
    let x = |at: SystemTime| {
        let part = age(at).as_secs_f64() / span.as_secs_f64();
        LEFT + (1.0 - part.min(1.0)) * WIDTH
    };
    let sets: Vec<_> = points
        .iter()
        .filter_map(|point| match point.what {
            What::Fresh(end) => Some((point.at, end?)),
            _ => None,
        })
        .collect();
    let life = |(at, end): &(SystemTime, SystemTime)| end.duration_since(*at).unwrap_or_default();
    let most = sets.iter().map(life).max().unwrap_or_default();
    let most = most.as_secs_f64().max(60.0);
    let y = |left: f64| TOP + (1.0 - (left / most).clamp(0.0, 1.0)) * HEIGHT;
    write!(
        out,
        "<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"What was left of the credentials of {} \
         in the last {}\">",
        LEFT + WIDTH + 8.0,
        TOP + HEIGHT + 22.0,
        Escaped(name),
        spoken(span.as_secs())
    )?;
    grid(out, span, most)?;
    for (at, set) in sets.iter().enumerate() {
        let (from, end) = *set;
        let until = sets.get(at + 1).map_or(now, |next| next.0);
        if age(until) > span {
            continue;
        }
        // A set from before the plot begins at its edge.
        let from = from.max(now.checked_sub(span).unwrap_or(from));
        let left = |at: SystemTime| end.duration_since(at).unwrap_or_default().as_secs_f64();
        let (x1, y1, x2, y2) = (x(from), y(left(from)), x(until), y(left(until)));
        // The line stays on the ground once the set has expired.
        let ground = TOP + HEIGHT;
        let touch = x(end.min(until).max(from));
        write!(
            out,
            "<path class=\"area\" d=\"M{x1:.1} {ground}V{y1:.1}L{touch:.1} {y2:.1}H{x2:.1}V{ground}Z\"/>\
             <path class=\"left\" d=\"M{x1:.1} {y1:.1}L{touch:.1} {y2:.1}H{x2:.1}\"/>"
        )?;
    }
    for point in points.iter().filter(|point| age(point.at) <= span) {
        let (class, words) = match &point.what {
            What::Fresh(_) => continue,
            What::Failed => ("failed", "refresh failed"),
            What::Invalidated => ("odd", "invalidated"),
            What::Warning(_) => ("odd", "warning"),
        };
        let (x, ground) = (x(point.at), TOP + HEIGHT);
        write!(
            out,
            "<path class=\"{class}\" d=\"M{x:.1} {ground}V{:.1}\"><title>{words} {}</title></path>",
            ground - 18.0,
            super::answer::to_seconds(point.at)
        )?;
    }
    out.push_str("</svg>");
    Ok(())
}

fn grid(out: &mut String, span: Duration, most: f64) -> fmt::Result {
    let (right, ground) = (LEFT + WIDTH, TOP + HEIGHT);
    for (y, label) in [(TOP, brief(most as u64)), (ground, "0".to_owned())] {
        write!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}\
             </text>",
            LEFT - 4.0,
            y + 4.0
        )?;
    }
    for third in 0..=3_u32 {
        let x = LEFT + WIDTH * f64::from(third) / 3.0;
        let ago = (span * (3 - third) / 3).as_secs();
        let (label, anchor) = match third {
            0 => (format!("{} ago", brief(ago)), "start"),
            3 => ("now".to_owned(), "end"),
            _ => (format!("{} ago", brief(ago)), "middle"),
        };
        write!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} {ground}v4\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">\
             {label}</text>",
            ground + 17.0
        )?;
    }
    Ok(())
}

fn consumers(out: &mut String, consumers: &[Consumer]) -> fmt::Result {
    out.push_str(
        "<section><h2>Consumers</h2><div class=\"table\"><table><thead><tr><th>Name</th><th>May use</th>\
         <th class=\"number\">Requests</th><th>Answers</th><th>Last request</th></tr></thead><tbody>",
    );
    for consumer in consumers {
        let may_use = if consumer.may_use_all {
            "everything".to_owned()
        } else {
            consumer.sessions.join(", ")
        };
        let answers: Vec<_> = consumer
            .by_code
            .iter()
            .map(|(code, count)| format!("{code}: {count}"))
            .collect();
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&consumer.name),
            Escaped(&may_use),
            consumer.requests,
            answers.join(", "),
            consumer.last_request.as_deref().unwrap_or("never")
        )?;
    }
    out.push_str("</tbody></table></div></section>");
    Ok(())
}

fn pools(out: &mut String, pools: &[Pool]) -> fmt::Result {
    out.push_str(
        "<section><h2>Roles by ARN</h2><div class=\"table\"><table><thead><tr><th>Assumed from</th>\
         <th class=\"number\">Sessions</th><th class=\"number\">Idle</th><th class=\"number\">Refreshing</th>\
         <th class=\"number\">Waiting</th><th class=\"number\">Throttled</th></tr></thead><tbody>",
    );
    for pool in pools {
        write!(out, "<tr><td>{}</td>", Escaped(&pool.from))?;
        let waiting = pool.awaited + pool.unattended;
        for number in [pool.sessions, pool.idle, pool.refreshing, waiting] {
            write!(out, "<td class=\"number\">{number}</td>")?;
        }
        write!(out, "<td class=\"number\">{}</td></tr>", pool.throttled)?;
    }
    out.push_str("</tbody></table></div></section>");
    Ok(())
}

/// A text as content or as an attribute in double quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000 + seconds)
    }

    #[test]
    fn what_is_shown_is_escaped() {
        let text = Escaped("<script>alert('1')</script> & \"x\"").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;"
        );
    }

    #[test]
    fn durations_are_spoken() {
        let spoken = [0, 59, 60, 3599, 3600, 3900, 43_200].map(spoken);
        assert_eq!(
            spoken,
            [
                "0 s",
                "59 s",
                "1 min",
                "59 min",
                "1 h 00 min",
                "1 h 05 min",
                "12 h 00 min"
            ]
        );
    }

    #[test]
    fn the_plot_has_a_line_for_each_set_and_a_mark_for_each_failure() {
        let fresh = |from: u64| Point {
            at: at(from),
            what: What::Fresh(Some(at(from + 3600))),
        };
        let failed = Point {
            at: at(5000),
            what: What::Failed,
        };
        let mut out = String::new();
        plot(
            &mut out,
            "app",
            &[fresh(0), fresh(2700), failed, fresh(5400)],
            at(6000),
        )
        .unwrap();
        assert_eq!(out.matches("class=\"left\"").count(), 3, "{out}");
        assert_eq!(out.matches("class=\"failed\"").count(), 1, "{out}");
        assert!(!out.contains("NaN") && !out.contains("inf"), "{out}");
        let mut none = String::new();
        plot(&mut none, "app", &[], at(0)).unwrap();
        assert_eq!(none, "");
    }

    #[test]
    fn an_expired_set_lies_on_the_ground() {
        let point = Point {
            at: at(0),
            what: What::Fresh(Some(at(600))),
        };
        let mut out = String::new();
        plot(&mut out, "app", &[point], at(6000)).unwrap();
        assert!(out.contains(&format!("{:.1}H", TOP + HEIGHT)), "{out}");
    }
}
