package main

import (
	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
)

// foreign makes a system call by the number that it has for programs of 32 bits.
func foreign(number uint32) int32

// getppid32 is getppid for programs of 32 bits; among those of 64 bits its number is that of semget.
const getppid32 = 64

func init() {
	cases = append(cases, escape{name: "call as a program of 32 bits", by: []isolate.Layer{isolate.Syscalls}, try: func(facts) error {
		if n := foreign(getppid32); n < 0 {
			return unix.Errno(-n)
		}
		return nil
	}})
}
