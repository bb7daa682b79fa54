//! Training: derivatives and ten steps against PyTorch, perturbed parameters against closed forms, what stops a training, and the
//! command as a whole.

mod command;
mod digits;
mod faults;
mod gradients;
mod interface;
mod overfitting;
mod perturbed;
mod resumed;
mod steps;
