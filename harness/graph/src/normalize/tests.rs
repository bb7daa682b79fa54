//! Small graphs and their normal forms.
