//! Training: derivatives and ten steps against PyTorch, and the command as a whole.

mod command;
mod gradients;
mod steps;
