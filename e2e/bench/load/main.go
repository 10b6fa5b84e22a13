// Command load is the benchmarks' other side: it asks, and it plays what stands behind the thing that is measured.
//
//	load drive  -to unix:/path|tcp:host:port -path /p -body FILE -connections 16 -rate 1000 -seconds 5
//	load echo   -listen 127.0.0.1:0          HTTP: answers each request with its own body
//	load proxy  -listen 127.0.0.1:0 -backend http://…   net/http/httputil.ReverseProxy, nothing added
//	load model  -listen 127.0.0.1:0 -chunks 100 -every 20ms   OpenAI's chat completions, without a model
//	load streams -to … -path /p -body FILE -connections 200 -seconds 5   streams of that kind, open at once
//	load sink   -listen 127.0.0.1:0          takes every POST, and tells by GET how many came
//	load runner -listen 127.0.0.1:0          a tool runner that answers each call at once with its own params
//
// One program, so that one build serves; standard library only. A server prints its address as its first line; drive
// prints one JSON object. It must never count an answer that it has not read to its end.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("expected drive, streams, echo, proxy, model, sink or runner"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "where a server listens")
	backend := flags.String("backend", "", "what the proxy stands before, as a URL")
	var said model
	flags.IntVar(&said.chunks, "chunks", 100, "of a model's stream")
	flags.DurationVar(&said.every, "every", 20*time.Millisecond, "between the chunks of a model's stream")
	var plan Plan
	flags.StringVar(&plan.To, "to", "", "whom to ask: unix:/path or tcp:host:port")
	flags.StringVar(&plan.Path, "path", "/", "the request's target")
	flags.StringVar(&plan.BodyFile, "body", "", "file with the request's body")
	flags.StringVar(&plan.Expect, "expect", "", "what every right answer has in it")
	flags.Func("header", "`Name: value`, any number of times", func(header string) error {
		plan.Headers = append(plan.Headers, header)
		return nil
	})
	flags.IntVar(&plan.Connections, "connections", 1, "kept-alive connections")
	flags.Float64Var(&plan.Rate, "rate", 0, "requests/s that are due, answered or not; 0: each connection asks when it was answered")
	flags.Float64Var(&plan.Seconds, "seconds", 1, "time that counts")
	flags.Float64Var(&plan.Warmup, "warmup", 0.5, "time before, that does not")
	_ = flags.Parse(os.Args[2:])

	var err error
	switch os.Args[1] {
	case "drive":
		var result Result
		if result, err = Drive(plan); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	case "streams":
		var result Streamed
		if result, err = Streams(plan); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	case "model":
		err = serve(*listen, said)
	case "echo":
		err = serve(*listen, http.HandlerFunc(echo))
	case "proxy":
		var handler http.Handler
		if handler, err = reverseProxy(*backend); err == nil {
			err = serve(*listen, handler)
		}
	case "sink":
		err = serve(*listen, new(sink))
	case "runner":
		err = serve(*listen, http.HandlerFunc(runner))
	default:
		err = fmt.Errorf("got %s, expected drive, streams, echo, proxy, model, sink or runner", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func serve(address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, handler)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "load:", err)
	os.Exit(1)
}
