package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/dtmgrpc"
	"github.com/dtm-labs/client/dtmgrpc/dtmgimp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// books remember every call of every transaction, as "debit 01 action".
type books struct {
	mutex sync.Mutex
	calls map[string][]string
}

func newBooks() *books { return &books{calls: map[string][]string{}} }

func (b *books) write(gid, what, branchID, op string) (count int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	line := fmt.Sprintf("%s %s %s", what, branchID, op)
	for _, each := range b.calls[gid] {
		if each == line {
			count++
		}
	}
	b.calls[gid] = append(b.calls[gid], line)
	return count + 1
}

func (b *books) of(gid string) []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]string{}, b.calls[gid]...)
}

// asked turns the word of a URL into what a participant answers at its count-th call.
func asked(word string, count int) error {
	switch word {
	case "":
		return nil
	case "refuse":
		return fmt.Errorf("no money. %w", dtmcli.ErrFailure)
	case "ongoing-once":
		if count == 1 {
			return dtmcli.ErrOngoing
		}
		return nil
	case "fail-once":
		if count == 1 {
			return errors.New("out of order")
		}
		return nil
	}
	return fmt.Errorf("unknown answer %q", word)
}

// participate answers a call over HTTP as Go participants do, with the library's own mapping of errors.
func (b *bank) participate(w http.ResponseWriter, r *http.Request, q url.Values) {
	body, err := io.ReadAll(r.Body)
	must(err)
	value, err := b.perform(r.URL.Path, q, body)
	status, result := dtmcli.Result2HttpJSON(orError(value, err))
	answer(w, status, result)
}

func orError(value string, err error) interface{} {
	if err != nil {
		return err
	}
	return map[string]string{"value": value}
}

func (b *bank) perform(path string, q url.Values, body []byte) (string, error) {
	count := b.books.write(q.Get("gid"), path[1:], q.Get("branch_id"), q.Get("op"))
	if err := asked(q.Get("answer"), count); err != nil {
		return "", err
	}
	switch path {
	case "/resume":
		return "", resume(b, q, body)
	case "/move": // in one local transaction with the barrier's row
		return "", b.moveOnce(q)
	case "/sent": // whether a message's own transaction was made
		return "", b.wasSent(q)
	case "/xa":
		return "", b.moveByXa(q)
	case "/nested":
		return "", b.tryNested(q)
	}
	return "done " + path[1:], nil
}

// order is what participants are sent over gRPC, where no URL can say it.
type order struct {
	Answer   string `json:"answer"`
	Database string `json:"database"`
	Amount   int    `json:"amount"`
}

func orderOf(q url.Values) *wrapperspb.StringValue {
	return wrapperspb.String(fmt.Sprintf(`{"answer":%q,"database":%q,"amount":%d}`, q.Get("answer"), q.Get("database"), amountOf(q)))
}

// bankService is the bank over gRPC: /interop.Bank/<Method>, each of a StringValue that holds an order.
var bankService = grpc.ServiceDesc{
	ServiceName: "interop.Bank",
	HandlerType: (*interface{})(nil),
	Methods: []grpc.MethodDesc{
		method("Debit", nil), method("DebitBack", nil), method("DebitConfirm", nil),
		method("Credit", nil), method("CreditBack", nil), method("CreditConfirm", nil),
		method("Sent", (*bank).wasSentGrpc), method("Xa", (*bank).moveByXaGrpc),
	},
}

func method(name string, perform func(b *bank, ctx context.Context, o order) error) grpc.MethodDesc {
	handle := func(srv interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
		b := srv.(*bank)
		message, o := &wrapperspb.StringValue{}, order{}
		if err := decode(message); err != nil {
			return nil, err
		}
		if message.Value != "" {
			if err := json.Unmarshal([]byte(message.Value), &o); err != nil {
				return nil, err
			}
		}
		base := dtmgimp.TransBaseFromGrpc(ctx)
		count := b.books.write(base.Gid, name, base.BranchID, base.Op)
		var err error
		if base.Op == dtmimp.OpTry || base.Op == dtmimp.OpAction { // what takes back or confirms has the same payload
			err = asked(o.Answer, count)
		}
		if err == nil && perform != nil {
			err = perform(b, ctx, o)
		}
		return &emptypb.Empty{}, dtmgrpc.DtmError2GrpcError(err)
	}
	return grpc.MethodDesc{MethodName: name, Handler: handle}
}

// query is the part of a URL that says how a participant shall answer.
func query(q url.Values, names ...string) string {
	kept := url.Values{}
	for _, name := range names {
		if value := q.Get(name); value != "" {
			kept.Set(name, value)
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return "?" + kept.Encode()
}

// options are what every transaction may be told.
func options(base *dtmimp.TransBase, q url.Values) {
	base.WaitResult = q.Get("wait") == "yes"
	base.RetryInterval = 1
	base.RequestTimeout = 10
}
