// Command etcd-agent is the operator's hand at the data: it makes, reads, tries and removes backups in pods of its own. It knows
// no Kubernetes; see internal/agent/task for how it is told what to do.
//
//	etcd-agent run             does the task of the environment
//	etcd-agent install FILE    copies the program itself to FILE
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
)

func main() { os.Exit(execute(os.Args[1:])) }

func execute(arguments []string) int {
	switch {
	case len(arguments) == 1 && arguments[0] == "run":
		return run()
	case len(arguments) == 2 && arguments[0] == "install":
		if err := install(arguments[1]); err != nil {
			fmt.Fprintln(os.Stderr, "etcd-agent: installing "+arguments[1]+":", err)
			return 1
		}
		return 0
	}
	fmt.Fprintf(os.Stderr, "etcd-agent: %q is no command; use: etcd-agent run, or: etcd-agent install FILE\n", arguments)
	return task.ExitFinal
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var t task.Task
	result, err := task.Result{}, json.Unmarshal([]byte(os.Getenv(task.Variable)), &t)
	if err != nil {
		err = &agent.FinalError{Err: fmt.Errorf("%s holds no task: %w", task.Variable, err)}
	} else {
		result, err = agent.Agent{Output: os.Stdout}.Do(ctx, t)
	}
	code := 0
	if err != nil {
		code, result = 1, task.Result{Problem: err.Error()}
		var final *agent.FinalError
		if errors.As(err, &final) {
			code, result.Differs = task.ExitFinal, final.Differs
		}
		fmt.Fprintln(os.Stderr, "etcd-agent:", err)
	}
	// The operator reads this only: without it a success would be of no use.
	if err := os.WriteFile(task.Message, result.Encode(), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "etcd-agent: writing the result:", err)
		return max(code, 1)
	}
	return code
}

// install copies the program to where a pod of another image can run it.
func install(target string) (err error) {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(own)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(target, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755) //nolint:gosec // Where it is told to, to be run.
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = io.Copy(to, from)
	return err
}
