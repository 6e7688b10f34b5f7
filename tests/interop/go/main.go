// A bank that takes part in transactions of a DTM server, and a client of that server, both with DTM's own Go library.
//
// It prints one line of JSON with its addresses, then serves until it is killed. POST /run/<scenario>?gid=<gid>&... runs a
// transaction as its client and answers with what the library returned; every other path is a participant. How a
// participant answers is part of its URL: /debit?answer=refuse. Each call is kept: GET /calls?gid=<gid> lists them.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/workflow"
	"google.golang.org/grpc"
)

// bank is where everything is: both addresses of the DTM server, and our own.
type bank struct {
	dtm, dtmGrpc string
	url, grpc    string
	books        *books
	databases    map[string]dtmcli.DBConf
}

// scenarios are the transactions that can be asked for; q holds what the test gave besides the gid.
var scenarios = map[string]func(b *bank, gid string, q url.Values) (string, error){
	"saga": runSaga, "saga-concurrent": runSagaConcurrent, "saga-grpc": runSagaGrpc,
	"tcc": runTcc, "tcc-nested": runTccNested, "tcc-grpc": runTccGrpc,
	"msg": runMsg, "msg-grpc": runMsgGrpc, "msg-twice": runMsgTwice,
	"xa": runXa, "xa-grpc": runXaGrpc,
	"workflow": runWorkflow, "workflow-grpc": runWorkflowGrpc, "workflow-xa": runWorkflowXa,
}

func main() {
	b := &bank{books: newBooks(), databases: map[string]dtmcli.DBConf{}}
	flag.StringVar(&b.dtm, "dtm", "", "base URL of the server's REST API")
	flag.StringVar(&b.dtmGrpc, "dtm-grpc", "", "host and port of the server's gRPC API")
	databases := flag.String("databases", "{}", "JSON: name to {Driver, Host, Port, User, Password, Db, Schema}")
	flag.Parse()
	must(json.Unmarshal([]byte(*databases), &b.databases))

	front, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	back, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	b.url, b.grpc = "http://"+front.Addr().String(), back.Addr().String()

	server := grpc.NewServer()
	server.RegisterService(&bankService, b)
	workflow.InitHTTP(b.dtm, b.url+"/resume")
	workflow.InitGrpc(b.dtmGrpc, b.grpc, server)
	registerWorkflows(b)
	go func() { must(server.Serve(back)) }()

	fmt.Printf("{\"url\":%q,\"grpc\":%q}\n", b.url, b.grpc)
	must(http.Serve(front, b))
}

// ServeHTTP sorts requests: those of the test, those of the DTM server.
func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch name := r.URL.Path; {
	case name == "/calls":
		answer(w, 200, b.books.of(q.Get("gid")))
	case len(name) > 5 && name[:5] == "/run/":
		run, known := scenarios[name[5:]]
		if !known {
			answer(w, 404, "no such scenario")
			return
		}
		value, err := guarded(func() (string, error) { return run(b, q.Get("gid"), q) })
		answer(w, 200, map[string]string{"value": value, "error": textOf(err)})
	default:
		b.participate(w, r, q)
	}
}

// guarded makes a panic an error, after the library has seen it.
func guarded(run func() (string, error)) (value string, err error) {
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("panic: %v", what)
		}
	}()
	return run()
}

func answer(w http.ResponseWriter, status int, body interface{}) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	must(json.NewEncoder(w).Encode(body))
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
