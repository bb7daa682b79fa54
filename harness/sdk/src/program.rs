//! Programs as formulas: a handle such as `g.grad()` declares the graph's input on first use, `g.give` names a result.

use std::cell::RefCell;
use std::collections::BTreeMap;

use flatscape_abi as abi;
use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, Node, Tensor, ValueType, onnx};

use crate::ask::{Ask, Error, Task, Value};
use crate::oracle::Law;

/// What a component answers: graphs by role, and counts.
#[derive(Clone, Debug)]
pub struct Program {
    ask: Ask,
    pub(crate) graphs: Vec<(i32, &'static str, Graph)>,
    pub(crate) steps: u32,
    pub(crate) restarts: u32,
    pub(crate) probes: u32,
    pub(crate) replays: u32,
    pub(crate) data: Data,
    pub(crate) bn_attack: BnAttack,
    pub(crate) attack: String,
    fault: Option<Error>,
}

/// What a trainer trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The images.
    Clean,
    /// The images and one adversarial example of each, made before the first step.
    AdversarialOnce,
    /// The images of a batch and an adversarial example of each, made in every step.
    AdversarialOnline,
}

/// The statistics that batch normalisation uses while a trainer attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BnAttack {
    /// The running ones.
    Eval,
    /// Those of the batch.
    Train,
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident $role:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(self, formulas: impl for<'b> FnOnce(&Names<'b>)) -> Program {
            self.graph(abi::$role, stringify!($name), formulas)
        }
    )*};
}

impl Program {
    pub(crate) fn new(ask: &Ask) -> Program {
        Program {
            ask: ask.clone(),
            graphs: Vec::new(),
            steps: 0,
            restarts: 0,
            probes: 0,
            replays: 0,
            data: Data::Clean,
            bn_attack: BnAttack::Eval,
            attack: String::new(),
            fault: None,
        }
    }

    roles! {
        /// What an attack ascends: gives `loss` \[N\]. Without it, the cross-entropy.
        objective OBJECTIVE,
        /// Gives `ct`, float \[N,classes\] or \[N,K,classes\]: the row vectors whose products with the Jacobian are `vjp`.
        cotangent COTANGENT,
        /// Gives the first `x` and `state_*`.
        init INIT,
        /// Gives `x_next` and `state_*_next`. Several of them run in turn.
        step STEP,
        /// Gives `x_adv`; for metrics `col_*` \[N\], `vec_*` \[N,M\], `surface_*` \[N,g,g\].
        emit EMIT,
        /// Gives `x`, the point of probe `i`.
        probe PROBE,
        /// Gives `obs_*`: what is kept of that point.
        observe OBSERVE,
        /// Of trainers: what the inner attack ascends, `loss` \[N\]. Without it, the attack's own objective.
        adversary ADVERSARY,
        /// Of trainers: gives `cost` \[N\], which is minimised, and parts of it to be logged, `log_*` \[N\].
        cost COST,
        /// Of trainers that use a batch several times in a row: gives `delta_next` \[N,D\].
        replay REPLAY,
        /// Of optimizers: gives `param_next` and `state_*_next`, which begin at 0. One graph serves parameters of every shape.
        update UPDATE,
        /// Gives `param_perturbed`: where the gradient is taken again before the update.
        perturb PERTURB,
    }

    /// How many steps.
    #[must_use]
    pub fn steps(mut self, steps: i64) -> Program {
        self.steps = self.count("steps", steps);
        self
    }

    /// How many restarts.
    #[must_use]
    pub fn restarts(mut self, restarts: i64) -> Program {
        self.restarts = self.count("restarts", restarts);
        self
    }

    /// How many probes.
    #[must_use]
    pub fn probes(mut self, probes: i64) -> Program {
        self.probes = self.count("probes", probes);
        self
    }

    /// How often a trainer with a `replay` uses each batch in a row.
    #[must_use]
    pub fn replays(mut self, replays: i64) -> Program {
        self.replays = self.count("replays", replays);
        self
    }

    /// The inner attack of a trainer, as users write one: `pgd:steps=10`. It gives `x_adv`; users may choose another one.
    #[must_use]
    pub fn attack(mut self, written: &str) -> Program {
        written.clone_into(&mut self.attack);
        self
    }

    /// What a trainer trains on.
    #[must_use]
    pub fn data(mut self, data: Data) -> Program {
        self.data = data;
        self
    }

    /// Batch normalisation while a trainer attacks.
    #[must_use]
    pub fn bn_attack(mut self, statistics: BnAttack) -> Program {
        self.bn_attack = statistics;
        self
    }

    fn count(&mut self, what: &str, count: i64) -> u32 {
        u32::try_from(count).unwrap_or_else(|_| {
            self.fault = Some(Error::invalid(format!("{count} {what} are not possible")));
            0
        })
    }

    fn graph(mut self, role: i32, name: &'static str, formulas: impl for<'b> FnOnce(&Names<'b>)) -> Program {
        let builder = Builder::new(Graph::new(name));
        let names = Names { builder: &builder, ask: &self.ask, declared: RefCell::default() };
        formulas(&names);
        self.graphs.push((role, name, builder.into_graph()));
        self
    }

    /// The graphs as bytes, each checked first.
    pub(crate) fn encode(self) -> Result<Encoded, Error> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut graphs = Vec::with_capacity(self.graphs.len());
        for (role, name, graph) in &self.graphs {
            graph.check().map_err(|e| Error::failed(format!("the {name} graph is wrong: {e}")))?;
            graphs.push((*role, onnx::write(graph)));
        }
        let Program { steps, restarts, probes, replays, data, bn_attack, attack, .. } = self;
        Ok(Encoded { graphs, steps, restarts, probes, replays, data, bn_attack, attack })
    }
}

/// A program ready for the border.
pub(crate) struct Encoded {
    pub graphs: Vec<(i32, Vec<u8>)>,
    pub steps: u32,
    pub restarts: u32,
    pub probes: u32,
    pub replays: u32,
    pub data: Data,
    pub bn_attack: BnAttack,
    pub attack: String,
}

/// The names by which a graph asks and answers. A method declares the input when it is used first; x-like values are
/// float \[N,D\] in pixel units with D = C·H·W.
#[derive(Debug)]
pub struct Names<'b> {
    builder: &'b Builder,
    ask: &'b Ask,
    declared: RefCell<BTreeMap<String, Expr<'b>>>,
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident $form:ident),* $(,)?) => {
        /// The names that have a method of their own here.
        #[cfg(test)]
        pub(crate) const HANDLES: &'static [&'static str] = &[$(stringify!($name)),*];
        $(
            $(#[$doc])*
            pub fn $name(&self) -> Expr<'b> {
                self.input(stringify!($name), self.$form())
            }
        )*
    };
}

impl<'b> Names<'b> {
    names! {
        /// The clean point, \[N,D\].
        x0 image,
        /// The clean point, \[N,D\], also where a metric is taken at adversarial points; elsewhere it is `x0`.
        x_clean image,
        /// The point of the second attack of a metric (`and=adv:ATTACK`), \[N,D\]; without one it is `x_clean`.
        x_second image,
        /// The adversarial point of a trainer, \[N,D\].
        x_adv image,
        /// The current point, \[N,D\].
        x image,
        /// The parameter of the threat model, \[N,P\] with P = [`Task::parameters`]; the image itself where it has none.
        z parameter,
        /// The label, int64 \[N\].
        y label,
        /// The class to reach, int64 \[N\]; only in targeted tasks.
        target label,
        /// Logits at `x`, \[N,classes\].
        logits class_row,
        /// Logits at `x0`, \[N,classes\].
        logits0 class_row,
        /// Logits at `x_clean`, \[N,classes\].
        logits_clean class_row,
        /// The same at `x_adv`.
        logits_adv class_row,
        /// The unnormalised log-likelihood LSE(logits) at `x`, \[N\], in nats. Models whose scores are normalised refuse the program.
        logp per_sample,
        /// The same at `x0`.
        logp0 per_sample,
        /// The same at `x_clean`.
        logp_clean per_sample,
        /// The same at `x_adv`.
        logp_adv per_sample,
        /// The input of the last linear layer at `x`, \[N,F\]. Models without such a layer refuse the program.
        features feature_row,
        /// The same at `x0`.
        features0 feature_row,
        /// The same at `x_clean`.
        features_clean feature_row,
        /// The same at `x_adv`.
        features_adv feature_row,
        /// Weights of the last linear layer, \[classes,F\].
        head_weight weights,
        /// Biases of the last linear layer, \[classes\].
        head_bias biases,
        /// The objective at `x`, \[N\].
        loss per_sample,
        /// The objective at `x0`, \[N\].
        loss0 per_sample,
        /// The objective at `x_clean`, \[N\].
        loss_clean per_sample,
        /// The same at `x_adv`.
        loss_adv per_sample,
        /// Gradient of the objective at `x`, \[N,D\]: it points to where the attack wants to go.
        grad image,
        /// Gradient of the objective at `x0`, \[N,D\].
        grad0 image,
        /// The same at `x_adv`.
        grad_adv image,
        /// Gradient of the objective with respect to `z`, \[N,P\].
        grad_z parameter,
        /// The gradient up to a positive factor per sample, at `x`, \[N,D\]. For cross-entropy it does not vanish however
        /// confident the model is; take it wherever only the direction counts.
        ascent image,
        /// The same at `x0`.
        ascent0 image,
        /// `grad_z` up to a positive factor per sample, \[N,P\]; take it wherever only the direction counts.
        ascent_z parameter,
        /// An upper bound, over ball and box around `x0`, on the dual norm of the gradient of z_y − z_k for every class k, \[N,classes\].
        /// Models with operators that have no rule for it refuse the program.
        slope_bound class_row,
        /// Hessian of the objective at `x` times `direction`, \[N,D\].
        hvp image,
        /// What `hvp` multiplies, \[N,D\]: the last `direction` or `state_direction` that a graph gave.
        direction image,
        /// Gradient of `logp` at `x`, \[N,D\].
        grad_logp image,
        /// Gradient of `logp` at `x0`, \[N,D\].
        grad_logp0 image,
        /// The same at `x_adv`.
        grad_logp_adv image,
        /// Cotangent times Jacobian at `x`, \[N,D\].
        vjp image,
        /// Cotangent times Jacobian at `x0`, \[N,D\].
        vjp0 image,
        /// Cotangent, taken at `x_adv`, times Jacobian at `x_adv`, \[N,D\].
        vjp_adv image,
        /// Radius.
        eps number,
        /// Lower face of the box.
        lo number,
        /// Upper face of the box.
        hi number,
        /// The temperature of the model: the T that minimises the mean cross-entropy of its scores divided by T over the first 1,000
        /// images of the run; NaN where it is undetermined.
        temperature number,
        /// What a step of 1 in the model's own input is in pixels, \[N,D\]: std/scale of the card, per channel. A gradient in pixels times
        /// it is one in the units of the model.
        model_unit image,
        /// Number of the step, from 0, int64.
        k count,
        /// The perturbation of the slot, \[N,D\]; 0 at first.
        delta image,
        /// Gradient of the sum of `cost` with respect to `x_adv`, \[N,D\].
        dx image,
        /// One parameter of the model, of any shape.
        param parameter_of_model,
        /// Gradient of the mean cost with respect to it.
        dparam parameter_of_model,
        /// L2 norm of that gradient over all parameters.
        dparam_norm number,
        /// The rank of the parameter, int64: 1 for biases and the scales of normalisations.
        rank count,
        /// The learning rate.
        lr number,
        /// Number of steps, int64.
        steps count,
        /// Number of the restart, from 0, int64.
        restart count,
        /// Number of the probe, one per row, int64 \[N\].
        i label,
        /// Whether the sample is broken, bool \[N\].
        broken mask,
    }

    /// Cotangents times Jacobian at `x`, \[N,rows,D\], where the cotangent gives \[N,rows,classes\].
    pub fn vjp_rows(&self, rows: usize) -> Expr<'b> {
        self.input("vjp", ValueType::new(DType::F32, leading([rows, self.task().pixels()])))
    }

    /// The same at `x_adv`.
    pub fn vjp_adv_rows(&self, rows: usize) -> Expr<'b> {
        self.input("vjp_adv", ValueType::new(DType::F32, leading([rows, self.task().pixels()])))
    }

    /// A state of an optimizer: like the parameter, 0 at first. The update gives `state_<name>_next`.
    pub fn state_of_param(&self, name: &str) -> Expr<'b> {
        self.input(&format!("state_{name}"), self.parameter_of_model())
    }

    /// Random numbers for every sample: float \[N, shape…\], keyed by sample and stream (letters, digits, underscores).
    pub fn noise(&self, law: Law, stream: &str, shape: &[usize]) -> Expr<'b> {
        let dims = leading(shape.iter().copied());
        self.input(&format!("noise_{}{}", law.name(), suffix(stream)), ValueType::new(DType::F32, dims))
    }

    /// Uniform on (−1, 1), \[N,D\].
    pub fn noise_uniform(&self) -> Expr<'b> {
        self.noise(Law::Uniform, "", &[self.task().pixels()])
    }

    /// Standard normal, \[N,D\].
    pub fn noise_normal(&self) -> Expr<'b> {
        self.noise(Law::Normal, "", &[self.task().pixels()])
    }

    /// −1 or 1, \[N,D\].
    pub fn noise_rademacher(&self) -> Expr<'b> {
        self.noise(Law::Rademacher, "", &[self.task().pixels()])
    }

    /// Random numbers that are the same for every sample and every model: float of this shape.
    pub fn shared_noise(&self, law: Law, stream: &str, shape: &[usize]) -> Expr<'b> {
        self.input(&format!("shared_noise_{}{}", law.name(), suffix(stream)), ValueType::fixed(DType::F32, shape))
    }

    /// The value of a parameter as a scalar of its type; hyphens of its name may be written as such.
    ///
    /// # Panics
    /// There is no such parameter, it is text, or its value was left to the component.
    pub fn arg(&self, name: &str) -> Expr<'b> {
        let dtype = match self.ask.value(name) {
            Value::Float(_) => DType::F32,
            Value::Int(_) => DType::I64,
            Value::Bool(_) => DType::Bool,
            Value::Auto | Value::Text(_) => panic!("the parameter {name:?} has no value that a graph can read"),
        };
        self.input(&format!("arg_{}", name.replace('-', "_")), ValueType::fixed(dtype, &[]))
    }

    /// A state that `init` gives: float \[N, shape…\].
    pub fn state(&self, name: &str, shape: &[usize]) -> Expr<'b> {
        self.input(&format!("state_{name}"), ValueType::new(DType::F32, leading(shape.iter().copied())))
    }

    /// Every observation of `obs_<name>`, float \[N, probes, shape…\].
    pub fn observed(&self, name: &str, probes: usize, shape: &[usize]) -> Expr<'b> {
        let dims = leading([probes].into_iter().chain(shape.iter().copied()));
        self.input(&format!("obs_{name}"), ValueType::new(DType::F32, dims))
    }

    /// Sum over the probes of `obs_<name>`, double \[N, shape…\].
    pub fn observed_sum(&self, name: &str, shape: &[usize]) -> Expr<'b> {
        self.reduced(name, "sum", shape)
    }

    /// Mean over the probes of `obs_<name>`, double \[N, shape…\].
    pub fn observed_mean(&self, name: &str, shape: &[usize]) -> Expr<'b> {
        self.reduced(name, "mean", shape)
    }

    /// Maximum over the probes of `obs_<name>`, double \[N, shape…\].
    pub fn observed_max(&self, name: &str, shape: &[usize]) -> Expr<'b> {
        self.reduced(name, "max", shape)
    }

    /// A function of the domain `flatscape`, which the host writes out; [`flatscape_abi::names::FUNCTIONS`] lists them with their
    /// operands.
    pub fn function(&self, name: &str, operands: &[Expr<'b>]) -> Expr<'b> {
        let ids: Vec<_> = operands.iter().map(|e| e.id).collect();
        let node = Node { domain: "flatscape".into(), ..Node::new(name, &ids, Attributes::none()) };
        let id = self.builder.graph_mut().push(node, 1)[0];
        self.builder.expr(id)
    }

    /// Names a result: `x`, `x_next`, `loss`, `ct`, `col_…`.
    pub fn give(&self, name: &str, value: Expr<'b>) {
        self.builder.output(name, value);
    }

    /// A constant.
    pub fn constant(&self, tensor: Tensor) -> Expr<'b> {
        self.builder.constant(tensor)
    }

    /// The builder, for operators that have no method.
    pub fn builder(&self) -> &'b Builder {
        self.builder
    }

    /// What the component will be used for.
    pub fn task(&self) -> &'b Task {
        &self.ask.task
    }

    fn reduced(&self, name: &str, how: &str, shape: &[usize]) -> Expr<'b> {
        let ty = ValueType::new(DType::F64, leading(shape.iter().copied()));
        self.input(&format!("obs_{name}_{how}"), ty)
    }

    /// Two uses of a name are one input. A second use with another shape is a mistake that [`Graph::check`] reports.
    fn input(&self, name: &str, ty: ValueType) -> Expr<'b> {
        if let Some(&there) = self.declared.borrow().get(name) {
            let before = self.builder.graph().value(there.id).ty.clone();
            if before != ty {
                self.builder.graph_mut().add_problem(format!("{name} is used as {before} and as {ty}"));
            }
            return there;
        }
        let value = self.builder.input(name, ty);
        self.declared.borrow_mut().insert(name.to_owned(), value);
        value
    }

    fn image(&self) -> ValueType {
        ValueType::new(DType::F32, leading([self.task().pixels()]))
    }

    fn class_row(&self) -> ValueType {
        ValueType::new(DType::F32, leading([self.task().classes]))
    }

    fn parameter(&self) -> ValueType {
        ValueType::new(DType::F32, leading([self.task().parameters]))
    }

    fn parameter_of_model(&self) -> ValueType {
        ValueType { dtype: Some(DType::F32), shape: None }
    }

    fn feature_row(&self) -> ValueType {
        ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::symbol("F")])
    }

    fn weights(&self) -> ValueType {
        ValueType::new(DType::F32, vec![Dim::Fixed(self.task().classes), Dim::symbol("F")])
    }

    fn biases(&self) -> ValueType {
        ValueType::fixed(DType::F32, &[self.task().classes])
    }

    fn per_sample(&self) -> ValueType {
        ValueType::new(DType::F32, leading([]))
    }

    fn label(&self) -> ValueType {
        ValueType::new(DType::I64, leading([]))
    }

    fn mask(&self) -> ValueType {
        ValueType::new(DType::Bool, leading([]))
    }

    fn number(&self) -> ValueType {
        ValueType::fixed(DType::F32, &[])
    }

    fn count(&self) -> ValueType {
        ValueType::fixed(DType::I64, &[])
    }
}

/// \[N, rest…\]
fn leading(rest: impl IntoIterator<Item = usize>) -> Vec<Dim> {
    [Dim::symbol("N")].into_iter().chain(rest.into_iter().map(Dim::Fixed)).collect()
}

fn suffix(stream: &str) -> String {
    if stream.is_empty() { String::new() } else { format!("_{stream}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use flatscape_abi::names::INPUTS;

    use super::Names;

    /// Every name of the interface that is not a beginning (`noise_`, `state_`, …) has a method, and no other has one.
    #[test]
    fn every_name_of_the_interface_has_a_method() {
        let whole: BTreeSet<&str> = INPUTS.iter().map(|row| row.name).filter(|name| !name.ends_with('_')).collect();
        let handles: BTreeSet<&str> = Names::HANDLES.iter().copied().collect();
        assert_eq!(handles, whole);
    }
}
