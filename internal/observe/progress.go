package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/agent/task"
	"github.com/etcd-k8s-operator/etcd-k8s-operator/internal/core/restores"
)

// Agents are asked how far they are while something is waited for: who does not answer at once is asked again later.
const (
	progressTimeout = time.Second
	progressLimit   = 1 << 10
)

// AskProgress asks an agent, by the address of its pod, how far it is.
func AskProgress(ctx context.Context, address string) (task.Progress, error) {
	progress, err := askProgress(ctx, address)
	if err != nil {
		return task.Progress{}, fmt.Errorf("asking the agent at %s: %w", address, err)
	}
	return progress, nil
}

func askProgress(ctx context.Context, address string) (progress task.Progress, err error) {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	url := "http://" + net.JoinHostPort(address, strconv.Itoa(task.Port)) + task.ProgressPath
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return progress, err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return progress, err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(answer.Body, progressLimit)).Decode(&progress); err != nil {
		return progress, err
	}
	if progress.Read < 0 || progress.Total < progress.Read {
		return progress, fmt.Errorf("it says that it has read %d of %d bytes", progress.Read, progress.Total)
	}
	return progress, nil
}

// progress asks all agents at once, by their addresses. It is there to be looked at only: who cannot be asked is left out.
func (o *Observer) progress(ctx context.Context, addresses map[restores.AgentKey]string, agents map[restores.AgentKey]restores.Agent) {
	if o.Progress == nil {
		return
	}
	var mutex sync.Mutex
	var asking sync.WaitGroup
	for key, address := range addresses {
		asking.Go(func() {
			found, err := o.Progress(ctx, address)
			if err != nil {
				return
			}
			mutex.Lock()
			defer mutex.Unlock()
			agent := agents[key]
			agent.Read, agent.Total = found.Read, found.Total
			agents[key] = agent
		})
	}
	asking.Wait()
}
