//! An endpoint on loopback that gives the credentials of sessions to programs in every language.
