//! Tests that look at their whole process, or need the machine for themselves. They run one at a time.

mod attachments;
mod attacks_soak;
mod hot_path;
mod waiting;

use tests::allocations::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

tests::scenes!(one at a time);
