//! The judge as a whole: stories that must come out right, and random histories in which no invariant may break.

mod random;
mod stories;
mod world;
