//! The tests of the whole program: one crate, one binary. What needs engines, plugins, files or the program itself stands here;
//! cases are data wherever they can be (`rules/`, `golden/`, `plugins/`).

#[cfg(test)]
mod laws;
#[cfg(test)]
mod provision;
#[cfg(test)]
mod rules;
