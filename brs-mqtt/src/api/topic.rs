//! Topic names and topic filters: MQTT 5, section 4.7, and AWS IoT's shorter limits, for its own
//! endpoints.
//!
//! Owns their checks and the matching of a message's topic to the filters of subscriptions, shared
//! subscriptions (`$share/<group>/<filter>`) included.

use brs_core::Error;

/// AWS IoT Core: filters in one SUBSCRIBE.
pub(crate) const MAX_FILTERS: usize = 8;

/// Tells one subscription from another, also to the same filter.
pub(crate) type Id = u64;

/// AWS IoT Core: a topic has at most 256 bytes, what `$aws/rules/<rule>/` and `$share/<group>/`
/// take not counted.
const MAX_BYTES: usize = 256;
/// AWS IoT Core: at most 7 slashes.
const MAX_SLASHES: usize = 7;
const SHARE: &str = "$share/";
const RULES: &str = "$aws/rules/";

/// Checks a topic that is published to.
pub(crate) fn check_name(topic: &str) -> Result<(), Error> {
    check(topic, topic, "topic")?;
    if topic.contains(['+', '#']) {
        return Err(refused(
            "topic",
            "contains a wildcard, `+` or `#`: a message goes to one topic",
        ));
    }
    Ok(())
}

/// Checks a filter that is subscribed to.
pub(crate) fn check_filter(filter: &str) -> Result<(), Error> {
    let inner = match filter.strip_prefix(SHARE) {
        Some(rest) => match rest.split_once('/') {
            Some((group, inner)) if !group.is_empty() && !group.contains(['+', '#']) => inner,
            _ => {
                return Err(refused(
                    "filter",
                    "is a shared subscription without a group or a filter: give `$share/<group>/<filter>`",
                ));
            }
        },
        None => filter,
    };
    check(filter, inner, "filter")?;
    let levels: Vec<&str> = inner.split('/').collect();
    for (place, level) in levels.iter().enumerate() {
        let is_last = place + 1 == levels.len();
        if (level.contains('+') && *level != "+")
            || (level.contains('#') && (*level != "#" || !is_last))
        {
            return Err(refused(
                "filter",
                "has a wildcard in a wrong place: `+` is a whole level, `#` the whole last one",
            ));
        }
    }
    Ok(())
}

/// Checks a topic or a filter against the limits of AWS IoT.
pub(crate) fn check_for_aws(text: &str, param: &str) -> Result<(), Error> {
    let within = |prefix, text: &'_ str| {
        text.strip_prefix(prefix)
            .and_then(|rest: &str| rest.find('/'))
    };
    let counted = [RULES, SHARE]
        .iter()
        .find_map(|prefix| Some(&text[prefix.len() + within(*prefix, text)? + 1..]));
    let counted = counted.unwrap_or(text);
    if counted.len() > MAX_BYTES {
        return Err(refused(
            param,
            "is longer than the 256 bytes that AWS IoT accepts",
        ));
    }
    if counted.matches('/').count() > MAX_SLASHES && !text.starts_with("$aws/") {
        return Err(refused(
            param,
            "has more than the 7 slashes that AWS IoT accepts",
        ));
    }
    Ok(())
}

fn check(whole: &str, inner: &str, param: &str) -> Result<(), Error> {
    if inner.is_empty() {
        return Err(refused(param, "is empty"));
    }
    if whole.len() > usize::from(u16::MAX) {
        return Err(refused(
            param,
            "is longer than the 65535 bytes that MQTT can carry",
        ));
    }
    if whole.chars().any(|c| c == '\0' || c.is_control()) {
        return Err(refused(param, "contains a control character"));
    }
    Ok(())
}

fn refused(param: &str, problem: &str) -> Error {
    Error::validation(format!("the {param} {problem}"))
        .with_param(param)
        .unrecoverable()
}

/// Whether messages of `topic` come through a subscription to `filter`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let filter = match filter.strip_prefix(SHARE) {
        Some(rest) => rest.split_once('/').map_or("", |(_, inner)| inner),
        None => filter,
    };
    // 4.7.2: a wildcard in the first level does not match topics of the server itself.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            // Also when nothing is left: `a/#` reaches `a` itself.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// Whether there may be a topic that both filters match.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let inner = |filter: &'_ str| -> usize {
        filter
            .strip_prefix(SHARE)
            .and_then(|rest| rest.find('/'))
            .map_or(0, |place| SHARE.len() + place + 1)
    };
    let (mut one, mut other) = (
        one[inner(one)..].split('/'),
        other[inner(other)..].split('/'),
    );
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/#", "sport/tennis", true),
            ("sport/tennis/#", "sport/tennis/score/wimbledon", true),
            ("sport/#", "sports", false),
            ("#", "anything/at/all", true),
            ("#", "$SYS/broker", false),
            ("+/broker", "$SYS/broker", false),
            ("$SYS/#", "$SYS/broker", true),
            ("$SYS/broker", "$SYS/broker", true),
            ("+", "finance", true),
            ("+", "/finance", false),
            ("/+", "/finance", true),
            ("+/+", "/finance", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("sport/+/player", "sport/tennis/player", true),
            ("sport/+/player", "sport/tennis/a/player", false),
            ("a/b", "a/B", false),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("$share/group/a/+", "a/b", true),
            ("$share/group/#", "$SYS/a", false),
            ("$share/group/a", "group/a", false),
            (
                "$aws/things/+/shadow/update/accepted",
                "$aws/things/x/shadow/update/accepted",
                true,
            ),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn filters_apart_do_not_overlap() {
        for (one, other, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a/+", "a/b", true),
            ("a/+", "+/b", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "b/#", false),
            ("$share/g/a", "a", true),
            ("a/b/c", "a/+/d", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn wrong_topics_say_what_is_wrong() {
        for (topic, problem) in [
            ("", "is empty"),
            ("a/+/b", "contains a wildcard"),
            ("a#", "contains a wildcard"),
            ("a\0b", "control character"),
            ("a\nb", "control character"),
        ] {
            let error = check_name(topic).unwrap_err();
            assert!(
                error.to_string().contains(problem) && error.param() == Some("topic"),
                "{topic}: {error}"
            );
        }
        assert!(
            check_name(&"x".repeat(65_536))
                .unwrap_err()
                .to_string()
                .contains("65535 bytes")
        );
    }

    #[test]
    fn the_limits_of_aws_are_its_own() {
        for (topic, problem) in [
            (&*"x".repeat(257), "256 bytes"),
            ("a/b/c/d/e/f/g/h/i", "7 slashes"),
            ("$share/group/a/b/c/d/e/f/g/h/i", "7 slashes"),
        ] {
            assert!(
                check_for_aws(topic, "topic")
                    .unwrap_err()
                    .to_string()
                    .contains(problem),
                "{topic}"
            );
        }
        let long = format!("$share/group/{}", "x".repeat(256));
        for topic in [
            "$aws/rules/a_rule/a/b/c/d/e/f/g",
            "$share/group/a/b/c/d/e/f/g/h",
            &long,
        ] {
            check_for_aws(topic, "topic").unwrap();
        }
        check_name(&"x".repeat(257)).unwrap();
        check_filter("a/b/c/d/e/f/g/h/i").unwrap();
    }

    #[test]
    fn wrong_filters_say_what_is_wrong() {
        for (filter, problem) in [
            ("", "is empty"),
            ("a/#/b", "wrong place"),
            ("a/b#", "wrong place"),
            ("a/b+/c", "wrong place"),
            ("$share/group", "without a group or a filter"),
            ("$share//a", "without a group or a filter"),
            ("$share/g+/a", "without a group or a filter"),
            ("$share/group/", "is empty"),
        ] {
            let error = check_filter(filter).unwrap_err();
            assert!(
                error.to_string().contains(problem) && error.param() == Some("filter"),
                "{filter}: {error}"
            );
        }
        for filter in ["#", "+", "/", "a/+/b/#", "$share/group/a/#", "$SYS/#"] {
            check_filter(filter).unwrap();
        }
    }

    /// The specification's words once more, level by level.
    fn reaches(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => reaches(filter, topic),
            ([level, filter @ ..], [name, topic @ ..]) => level == name && reaches(filter, topic),
            _ => false,
        }
    }

    fn levels(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        proptest::collection::vec(proptest::sample::select(of), 1..6)
    }

    proptest! {
        #[test]
        fn filters_that_a_topic_matches_overlap(
            one in levels(&["a", "b", "", "+", "#"]),
            other in levels(&["a", "b", "", "+", "#"]),
            topic in levels(&["a", "b", ""]),
            shared in any::<bool>(),
        ) {
            let (mut one, other, topic) = (one.join("/"), other.join("/"), topic.join("/"));
            prop_assume!([&one, &other].iter().all(|filter| check_filter(filter).is_ok()));
            if shared {
                one = format!("$share/group/{one}");
            }
            prop_assert_eq!(overlap(&one, &other), overlap(&other, &one));
            if matches(&one, &topic) && matches(&other, &topic) {
                prop_assert!(overlap(&one, &other), "{} {} {}", one, other, topic);
            }
        }

        #[test]
        fn matching_is_what_the_specification_says_of_each_level(
            mut filter in levels(&["a", "b", "", "+", "$s"]),
            topic in levels(&["a", "b", "", "$s"]),
            (rest, shared) in any::<(bool, bool)>(),
        ) {
            if rest {
                filter.push("#");
            }
            let own = topic[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
            let expected = !own && reaches(&filter, &topic);
            let text = filter.join("/");
            // Alone they would be empty.
            prop_assume!(!text.is_empty() && topic != [""]);
            let text = if shared { format!("$share/group/{text}") } else { text };
            prop_assert!(check_filter(&text).is_ok(), "{}", text);
            prop_assert_eq!(matches(&text, &topic.join("/")), expected, "{} {}", text, topic.join("/"));
        }

        #[test]
        fn whatever_is_a_topic_is_a_filter_that_matches_it(text in ".{0,40}") {
            if check_name(&text).is_ok() && !text.starts_with(SHARE) {
                prop_assert!(check_filter(&text).is_ok() && matches(&text, &text));
                prop_assert_eq!(matches("#", &text), !text.starts_with('$'));
            }
        }
    }
}
