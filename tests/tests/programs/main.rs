//! The programs of this workspace as users run them.

mod dashboard;
mod demo;
mod examples;
mod metrics;
mod operator;
mod supervised_demo;
