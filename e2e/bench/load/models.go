package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// model answers OpenAI's chat completions without a model: whole at once, streamed in chunks at a pace. Each chunk's
// content is the time at which it was written, in nanoseconds since the epoch, so that whoever reads it behind a relay
// on the same machine knows how long it was under way.
type model struct {
	chunks int
	every  time.Duration
}

const (
	chunkHead = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{"content":"`
	chunkTail = `"},"finish_reason":null}]}` + "\n\n"
	lastChunk = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	usedChunk = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":%d,"total_tokens":%d}}` + "\n\n"
	wholeSaid = `{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"Oslo is the capital of Norway."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":7,"total_tokens":27}}`
)

func (m model) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	var asked struct {
		Stream  bool `json:"stream"`
		Options struct {
			Usage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	body, err := io.ReadAll(request.Body)
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil || request.URL.Path != "/v1/chat/completions" {
		http.Error(answer, fmt.Sprintf("expected POST /v1/chat/completions (%v)", err), http.StatusBadRequest)
		return
	}
	if !asked.Stream {
		answer.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(answer, wholeSaid)
		return
	}
	answer.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(answer)
	clock := time.NewTicker(m.every)
	defer clock.Stop()
	for range m.chunks {
		select {
		case <-request.Context().Done():
			return
		case <-clock.C:
		}
		fmt.Fprintf(answer, "%s%d%s", chunkHead, time.Now().UnixNano(), chunkTail)
		if control.Flush() != nil {
			return
		}
	}
	_, _ = io.WriteString(answer, lastChunk)
	if asked.Options.Usage {
		fmt.Fprintf(answer, usedChunk, m.chunks, m.chunks+20)
	}
	_, _ = io.WriteString(answer, "data: [DONE]\n\n")
}

// Streamed is what came of streams that are open at once. Delays are microseconds from a chunk's writing to its reading.
type Streamed struct {
	Chunks   int     `json:"chunks"` // that came in the time
	All      int     `json:"all"`    // the warm-up's too: what the server's CPU time was spent on
	Opened   int     `json:"opened"`
	Finished int     `json:"finished"` // the others were left when the time was over
	Bad      int     `json:"bad"`      // streams that were not 200, or did not come to their end
	Sample   string  `json:"sample"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

// Streams keeps as many streams open as the plan has connections, each followed by another, until the time is over; what
// then still runs is left.
func Streams(plan Plan) (Streamed, error) {
	body, err := os.ReadFile(plan.BodyFile)
	if err != nil {
		return Streamed{}, err
	}
	kind, address, _ := strings.Cut(plan.To, ":")
	network := map[string]string{"unix": "unix", "tcp": "tcp"}[kind]
	dialer := net.Dialer{}
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: plan.Connections,
		DisableCompression:  true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			for { // a unix socket whose queue is full refuses at once, where TCP would try again by itself
				conn, err := dialer.DialContext(ctx, network, address)
				if !errors.Is(err, syscall.EAGAIN) || ctx.Err() != nil {
					return conn, err
				}
				time.Sleep(time.Millisecond)
			}
		},
	}}
	began := time.Now()
	counts, ends := began.Add(seconds(plan.Warmup)), began.Add(seconds(plan.Warmup+plan.Seconds))
	ctx, cancel := context.WithDeadline(context.Background(), ends)
	defer cancel()
	var (
		all, opened, finished atomic.Int64
		lock                  sync.Mutex
		delays                []time.Duration
		result                = Streamed{Seconds: plan.Seconds}
		running               sync.WaitGroup
	)
	one := func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+plan.Path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		opened.Add(1)
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			said, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
			return fmt.Errorf("%d %s", answer.StatusCode, said)
		}
		var own []time.Duration
		defer func() {
			lock.Lock()
			delays = append(delays, own...)
			lock.Unlock()
		}()
		whole := false
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			line := lines.Bytes()
			whole = whole || bytes.Contains(line, []byte("[DONE]")) || bytes.HasPrefix(line, []byte("event: end"))
			written, ok := stamp(line)
			if !ok {
				continue
			}
			now := time.Now()
			all.Add(1)
			if now.After(counts) {
				own = append(own, now.Sub(time.Unix(0, written)))
			}
		}
		if err := lines.Err(); err != nil {
			return err
		}
		if !whole {
			return fmt.Errorf("a stream without its end")
		}
		finished.Add(1)
		return nil
	}
	for at := range plan.Connections {
		running.Add(1)
		go func() {
			defer running.Done()
			time.Sleep(time.Duration(at) * seconds(plan.Warmup) / time.Duration(2*plan.Connections)) // not all at once
			for ctx.Err() == nil {
				if err := one(); err != nil && ctx.Err() == nil {
					lock.Lock()
					if result.Bad++; result.Sample == "" {
						result.Sample = err.Error()
					}
					lock.Unlock()
					return
				}
			}
		}()
	}
	running.Wait()
	slices.Sort(delays)
	result.Chunks, result.All = len(delays), int(all.Load())
	result.Opened, result.Finished = int(opened.Load()), int(finished.Load())
	result.P50, result.P99 = at(delays, 0.5), at(delays, 0.99)
	return result, nil
}

// stamp finds a chunk's time: 19 digits in quotes.
func stamp(line []byte) (int64, bool) {
	if !bytes.HasPrefix(line, []byte("data:")) {
		return 0, false
	}
	const digits = 19
	for from := 0; ; {
		quote := bytes.IndexByte(line[from:], '"')
		if quote < 0 {
			return 0, false
		}
		from += quote + 1
		if len(line) <= from+digits || line[from+digits] != '"' {
			continue
		}
		var value int64
		for _, c := range line[from : from+digits] {
			if c < '0' || c > '9' {
				value = -1
				break
			}
			value = value*10 + int64(c-'0')
		}
		if value > 0 {
			return value, true
		}
	}
}
