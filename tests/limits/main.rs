//! Limits reached on purpose: each answers with a typed error that says what is short, loses nothing, leaves nothing
//! behind, and the same handles work again once the limit is lifted.
//!
//! Limits are the process's own, so every test runs in a child of its own, which has one thread.

mod address_space;
mod alone;
mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod control_group;
mod descriptors;
mod disk;
mod doorbells;
mod file_size;
mod files;
mod filter;
mod huge_pages;
mod locked_memory;
mod mounting;
mod no_proc;
mod numbers;
mod refused;
mod seats;

#[test]
fn child_entry() {
    common::enter(&[
        ("address space", address_space::role),
        ("clocks", clocks::role),
        ("control group", control_group::role),
        ("descriptors", descriptors::role),
        ("descriptors: dying reader", descriptors::dying_reader),
        ("descriptors: dying reader", descriptors::dying_reader),
        ("descriptors: sender", descriptors::sender),
        ("descriptors: receiver", descriptors::receiver),
        ("descriptors: hub", descriptors::hub),
        ("descriptors: client", descriptors::client),
        ("disk", disk::role),
        ("file size", file_size::role),
        ("huge pages", huge_pages::role),
        ("huge pages: receiver", huge_pages::receiver),
        ("locked memory", locked_memory::role),
        ("no /proc", no_proc::role),
        ("refused", refused::role),
        ("seats: client", seats::client),
        ("seats: taker", seats::taker),
    ]);
}
