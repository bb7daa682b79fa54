//! Training: ten steps against PyTorch, and the command as a whole.

mod command;
mod steps;
