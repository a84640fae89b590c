//go:build !linux

// Command local-cluster needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "local-cluster: it needs Linux and root, because it makes network namespaces and cgroups: use kind, which needs Docker: make kind-create")
	os.Exit(1)
}
