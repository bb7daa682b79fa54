//! The tests of the whole program: one crate, one binary. What needs engines, plugins, files or the program itself stands here;
//! cases are data wherever they can be (`rules/`, `golden/`, `plugins/`).

#[cfg(test)]
mod abuses;
#[cfg(test)]
mod accepted;
#[cfg(test)]
mod architectures;
#[cfg(test)]
mod bombs;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod certificate;
#[cfg(test)]
mod chromium;
#[cfg(test)]
mod contained;
#[cfg(test)]
mod exported;
#[cfg(test)]
mod exporters;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod formulas;
#[cfg(test)]
mod gradient_file;
#[cfg(test)]
mod half;
#[cfg(test)]
mod hazards;
#[cfg(test)]
mod installed;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod library;
#[cfg(test)]
mod models;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod nodetests;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod plugins;
#[cfg(test)]
mod program;
#[cfg(test)]
mod provision;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod training;
#[cfg(test)]
mod twins;
#[cfg(test)]
mod weights;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod written;
