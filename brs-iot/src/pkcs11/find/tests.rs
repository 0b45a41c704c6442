//! What lists show.

use super::*;

#[test]
fn long_lists_are_cut() {
    assert_eq!(listed([].into_iter()), "none");
    let list = listed((0..20).map(|number| number.to_string()));
    assert!(list.ends_with("15; and 4 more"), "{list}");
}
