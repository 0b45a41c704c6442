//! What selectors look for, and how they are shown.

use super::*;

#[test]
fn selectors_say_what_they_look_for() {
    assert_eq!(TokenSelector::default().to_string(), "any name");
    let token = TokenSelector {
        slot_id: Some(3),
        label: Some("a".into()),
        ..TokenSelector::default()
    };
    assert_eq!(token.to_string(), "slot id `3`, label `a`");
    let object = ObjectSelector {
        label: None,
        id: Some(Id(vec![0, 171])),
    };
    assert_eq!(object.to_string(), "id `00ab`");
}

#[test]
fn padding_is_no_part_of_a_name_and_control_characters_are_not_shown() {
    let token = Identity {
        label: "device".into(),
        serial: "1\u{1b}[2J".into(),
        ..Identity::default()
    };
    for label in ["device", "device  ", "device\0\0"] {
        let selector = TokenSelector {
            label: Some(label.into()),
            ..TokenSelector::default()
        };
        assert!(selector.matches(0, &token));
    }
    assert!(!token.to_string().contains('\u{1b}'), "{token}");
}
