"""What the compiler writes into a program, by number, as native code has it."""
