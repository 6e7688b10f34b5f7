package main

import (
	"context"
	"database/sql"
	"net/url"
	"strings"

	"github.com/dtm-labs/client/dtmcli"
	"github.com/dtm-labs/client/dtmcli/dtmimp"
	"github.com/dtm-labs/client/workflow"
)

// registerWorkflows names the workflows; their data is the query that the test gave, so that a resumed one has it too.
func registerWorkflows(b *bank) {
	must(workflow.Register2("transfer", b.transfer))
	must(workflow.Register2("transfer-xa", b.transferByXa))
}

// execute runs a workflow over a protocol; the library has one for all, so tests take turns.
func execute(name, protocol, gid string, q url.Values) (string, error) {
	workflow.SetProtocolForTest(protocol)
	value, err := workflow.ExecuteCtx(context.Background(), name, gid, []byte(q.Encode()))
	return string(value), err
}

func runWorkflow(b *bank, gid string, q url.Values) (string, error) {
	return execute("transfer", dtmimp.ProtocolHTTP, gid, q)
}

func runWorkflowGrpc(b *bank, gid string, q url.Values) (string, error) {
	return execute("transfer", dtmimp.ProtocolGRPC, gid, q)
}

func runWorkflowXa(b *bank, gid string, q url.Values) (string, error) {
	return execute("transfer-xa", dtmimp.ProtocolHTTP, gid, q)
}

func resume(b *bank, q url.Values, body []byte) error {
	return workflow.ExecuteByQS(q, body)
}

// transfer makes a local step and two calls; "answer" is that of the credit, "back" that of taking the debit back.
func (b *bank) transfer(wf *workflow.Workflow, data []byte) ([]byte, error) {
	q, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, err
	}
	note, err := wf.NewBranch().Do(func(bb *dtmcli.BranchBarrier) ([]byte, error) {
		b.books.write(wf.Gid, "local", bb.BranchID, bb.Op)
		return []byte("noted"), nil
	})
	if err != nil {
		return nil, err
	}
	wf.NewBranch().OnRollback(func(bb *dtmcli.BranchBarrier) error {
		_, err := wf.NewRequest().SetBody(money{30}).Post(b.url + "/debit-back" + rename(q, "back"))
		return err
	})
	if _, err = wf.NewRequest().SetBody(money{30}).Post(b.url + "/debit"); err != nil {
		return nil, err
	}
	wf.NewBranch()
	response, err := wf.NewRequest().SetBody(money{30}).Post(b.url + "/credit" + query(q, "answer"))
	if err != nil {
		return nil, err
	}
	said := strings.TrimSpace(response.String())
	return []byte(string(note) + ", " + said), nil
}

// transferByXa moves money between two prepared local transactions; "answer" decides about a call after the first.
func (b *bank) transferByXa(wf *workflow.Workflow, data []byte) ([]byte, error) {
	q, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, err
	}
	_, conf, err := b.open(q.Get("database"))
	if err != nil {
		return nil, err
	}
	move := func(amount int) error {
		return b.detached(q.Get("database"), func(note func(*sql.DB) error) error {
			_, err := wf.NewBranch().DoXa(conf, func(db *sql.DB) ([]byte, error) {
				if err := note(db); err != nil {
					return nil, err
				}
				return nil, add(db, conf, wf.Gid, "xa", amount)
			})
			return err
		})
	}
	if err = move(-30); err != nil {
		return nil, err
	}
	wf.NewBranch()
	if _, err = wf.NewRequest().SetBody(money{30}).Post(b.url + "/credit" + query(q, "answer")); err != nil {
		return nil, err
	}
	return nil, move(30)
}
