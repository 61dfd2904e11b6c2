# frozen_string_literal: true

require "spec_helper"

# A request body beyond body_memory is kept in a file, which is closed with the response, without waiting for Ruby's garbage
# collector.
RSpec.describe "Files of request bodies" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    # The collector must not close files.
    GC.disable

    class Each
      def initialize(input) = @input = input

      def each
        while (part = @input.read(100_000))
          yield part
        end
      end
    end

    run(lambda do |env|
      input = env["rack.input"]
      case env["PATH_INFO"]
      when "/read" then [200, {}, [input.read.bytesize.to_s]]
      when "/unread" then [200, {}, ["unread"]]
      when "/each" then [200, {}, Each.new(input)]
      when "/raise" then raise "with the file open"
      when "/bad-header" then [200, { "x" => 1 }, []]
      when "/close" then input.close; [200, {}, ["closed"]]
      end
    end)
  CONFIG

  size = 120_000

  before { skip "there is no /proc" unless ProcessCost.available? }

  { "/read" => size.to_s, "/unread" => "unread", "/each" => "x" * size, "/raise" => nil, "/bad-header" => nil,
    "/close" => "closed" }.each do |path, body|
    it "are closed: #{path}" do
      client = http
      upload = lambda do
        response = client.request("POST", path, body: "x" * size)
        expect(response.status).to eq(body ? 200 : 500)
        expect(response.body == body).to be(true) if body
      end
      upload.call
      before = app.descriptors.size
      40.times { upload.call }
      # The last one is closed after its response.
      eventually("the files to be closed") { app.descriptors.size <= before + 1 }
    end
  end
end
