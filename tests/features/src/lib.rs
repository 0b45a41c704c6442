//! What the facade offers with each of its features, in a package of its own: the facade's examples
//! need service crates, which would be compiled again for each set of features.
