# frozen_string_literal: true

require "open3"
require "spec_helper"

# push.js has tests in JavaScript, with a server in Node that does what a test says.
RSpec.describe "push.js" do
  before(:context) { skip Script.missing(:node) if Script.missing(:node) }

  it "passes its tests in JavaScript" do
    files = Dir[File.join(Script::DIR, "push_js/*.test.js")]
    expect(files).not_to be_empty
    output, status = Open3.capture2e("node", "--test", *files, chdir: Script::DIR)
    expect(status).to be_success, output
  end
end
