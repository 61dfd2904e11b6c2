# frozen_string_literal: true

# This app serves all examples, and a page with links to them. Start it with `bin/examples` and open
# http://localhost:9292/.

require "push_server"

EXAMPLES = %w[assistant chat clock dashboard echo job_progress notifications ticker].freeze

EXAMPLES.each do |name|
  example = Array(Rack::Builder.parse_file(File.join(__dir__, name, "config.ru"))).first
  map("/#{name}") do
    # The pages use relative links, so their address must end with a slash.
    run ->(env) { env["PATH_INFO"].empty? ? [301, { "location" => "#{env["SCRIPT_NAME"]}/" }, []] : example.call(env) }
  end
end

run(lambda do |env|
  next [404, {}, []] unless env["PATH_INFO"] == "/"

  [200, { "content-type" => "text/html; charset=utf-8" }, [File.read(File.join(__dir__, "index.html"))]]
end)
