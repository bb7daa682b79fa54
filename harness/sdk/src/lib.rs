//! Attacks, metrics, trainers and optimizers for flatscape, written in Rust.
//!
//! A plugin is a `cdylib` that lists [`Component`]s in [`export!`]. A component declares parameters and answers a [`Program`]:
//! small graphs over the names of the plugin interface, written as formulas.
//!
//! ```
//! use flatscape_sdk::{Component, Param};
//!
//! /// Steps along the sign of the gradient.
//! fn component() -> Component {
//!     Component::attack("my-pgd", "projected gradient descent in the l-inf ball")
//!         .param(Param::int("steps", 20, "how many").range(1.0, 10_000.0))
//!         .param(Param::float("alpha", "1/255", "length of a step, in pixel units"))
//!         .build(|ask| {
//!             Ok(ask
//!                 .program()
//!                 .init(|g| g.give("x", g.x0() + g.noise_uniform() * g.eps()))
//!                 .step(|g| g.give("x_next", g.x() + g.grad().sign() * g.arg("alpha")))
//!                 .steps(ask.int("steps")))
//!         })
//! }
//!
//! flatscape_sdk::export!("mine", "0.1.0", [component()]);
//! ```
//!
//! This crate knows the plugin interface and graphs: no model, no engine, no loop over steps. Those are the host's.

mod ask;
mod border;
mod component;
mod oracle;
mod program;
mod reduction;

pub use ask::{Ask, Error, Task};
pub use component::{Component, Param};
pub use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, Operand, Tensor, ValueType};
pub use oracle::{Law, Oracle};
pub use program::{BnAttack, Data, Names, Program};
pub use reduction::{Head, Reduction, Rows};

#[doc(hidden)]
pub use border::{Exported, export};

/// Exports a plugin: its id, its version and its components. Writes the one symbol that flatscape looks for. A panic in a
/// component is caught and reported as such; that needs `panic = "unwind"`, which is Rust's default.
#[macro_export]
macro_rules! export {
    ($id:expr, $version:expr, [$($component:expr),* $(,)?]) => {
        /// The one symbol that flatscape looks for.
        #[unsafe(no_mangle)]
        pub extern "C" fn flatscape_plugin() -> $crate::Exported {
            $crate::export(|| ($id, $version, vec![$($component),*]))
        }
    };
}
