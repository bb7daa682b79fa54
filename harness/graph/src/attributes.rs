//! The attributes of a node: values by name, in the order of the names. Knows nothing of what an operator makes of them.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use crate::subgraph::Subgraph;
use crate::tensor::Tensor;

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    Tensor(Arc<Tensor>),
    /// A branch or a body; see [`Subgraph`] for how it reads values from outside.
    Graph(Arc<Subgraph>),
    /// Present in the file and of a kind this program does not read (a sparse tensor, a type); the kind's name.
    Unread(&'static str),
}

macro_rules! attribute_from {
    ($($t:ty => $v:ident),*) => {$(
        impl From<$t> for Attribute {
            fn from(value: $t) -> Attribute {
                Attribute::$v(value.into())
            }
        }
    )*};
}
attribute_from!(i64 => Int, f32 => Float, &str => String, Vec<i64> => Ints, &[i64] => Ints, Vec<f32> => Floats);

impl<const K: usize> From<[i64; K]> for Attribute {
    fn from(value: [i64; K]) -> Attribute {
        Attribute::Ints(value.to_vec())
    }
}

/// The attributes of a node, in the order of their names.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Attributes(pub Named);

/// Attributes by name. Copies share one map until one of them is changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Named(Arc<BTreeMap<String, Attribute>>);

impl Default for Named {
    fn default() -> Named {
        static EMPTY: LazyLock<Named> = LazyLock::new(|| Named(Arc::default()));
        EMPTY.clone()
    }
}

impl Deref for Named {
    type Target = BTreeMap<String, Attribute>;
    fn deref(&self) -> &BTreeMap<String, Attribute> {
        &self.0
    }
}

impl DerefMut for Named {
    fn deref_mut(&mut self) -> &mut BTreeMap<String, Attribute> {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a> IntoIterator for &'a Named {
    type Item = (&'a String, &'a Attribute);
    type IntoIter = std::collections::btree_map::Iter<'a, String, Attribute>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<BTreeMap<String, Attribute>> for Attributes {
    fn from(map: BTreeMap<String, Attribute>) -> Attributes {
        if map.is_empty() { Attributes::none() } else { Attributes(Named(Arc::new(map))) }
    }
}

impl Attributes {
    /// No attributes.
    pub fn none() -> Attributes {
        Attributes::default()
    }

    /// Whether both are the same map, so that nothing has been changed in between.
    pub(crate) fn shares(&self, other: &Attributes) -> bool {
        Arc::ptr_eq(&self.0.0, &other.0.0)
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Attributes {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The attribute of that name.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.get(name)
    }

    /// An integer, or its default.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        if let Some(Attribute::Int(v)) = self.get(name) { *v } else { default }
    }

    /// A float, or its default.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        if let Some(Attribute::Float(v)) = self.get(name) { *v } else { default }
    }

    /// A string, or its default.
    pub fn string<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        if let Some(Attribute::String(v)) = self.get(name) { v } else { default }
    }

    /// A list of integers, if present.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        if let Some(Attribute::Ints(v)) = self.get(name) { Some(v) } else { None }
    }
}

impl<const K: usize> From<[(&str, Attribute); K]> for Attributes {
    fn from(pairs: [(&str, Attribute); K]) -> Attributes {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>().into()
    }
}
