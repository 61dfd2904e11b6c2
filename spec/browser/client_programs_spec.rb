# frozen_string_literal: true

require "spec_helper"

# The programs that docs/clients.md shows, with packages from npm and PyPI.
RSpec.describe "The programs of docs/clients.md" do
  include ClientPages

  ClientPages.serve(self, [])

  attr_reader :tunnel

  before { @tunnel = Tunnel.new(app.port) }

  after do
    @program&.stop
    @tunnel.close
  end

  { "ws" => %i[js node], "websockets" => %i[python python], "httpx-sse" => %i[python httpx] }.each do |heading, (language, kind)|
    describe heading do
      before do
        skip Script.missing(kind) if Script.missing(kind)
        code = ClientPages::DOCS.code(heading, language.to_s).gsub("localhost:9292", "127.0.0.1:#{tunnel.port}")
        @program = Script.inline(language, code)
        expect(opened).to be_nil
      end

      %i[lost ended].each do |cut|
        it "gets all messages in order, and resumes when the connection was #{cut}" do
          publish("ws", "1", "two\nlines, ü 😀 \u2028\u0085\f", "3")
          expect(@program.read_lines(4)).to eq(["1", "two", "lines, ü 😀 \u2028\u0085\f", "3"])
          away(cut, "ws", "4", "5")
          expect(opened).to match(/\A\h+-\d+\z/)
          publish("ws", "6")
          expect(@program.read_lines(3)).to eq(%w[4 5 6])
        end
      end

      it("says something") { expect_line(/: hello from #{heading[/\w+/]}$/) }
    end
  end
end
