# frozen_string_literal: true

require "spec_helper"

# Which certificates and keys the server takes, and what clients get of them. What it refuses is in spec/unit/certificates_spec.rb.
RSpec.describe "A certificate" do
  root = CertificateAuthority.default
  middle = CertificateAuthority.new("Middle CA", issuer: root)
  config = %(run ->(_) { [200, {}, ["hello"]] })

  let(:folder) { Dir.mktmpdir }

  after { FileUtils.rm_rf(folder) }

  # The connection of a client that knows only the root.
  def connect(**options) = closing(RawConnection.new(app.address.with(**options)))

  def subject_of(connection) = connection.tls.peer_cert.subject.to_a.assoc("CN")[1]

  context "with a key of any kind" do
    rsa = OpenSSL::PKey::RSA.new(2048)
    ec = OpenSSL::PKey::EC.generate("prime256v1")
    keys = {
      "rsa-pkcs1" => [rsa, rsa.to_pem], "rsa-pkcs8" => [rsa, rsa.private_to_pem],
      "p256-sec1" => [ec, ec.to_pem], "p256-pkcs8" => [ec, ec.private_to_pem],
      "p384" => OpenSSL::PKey::EC.generate("secp384r1"),
      "ed25519" => OpenSSL::PKey.generate_key("ED25519")
    }
    pairs = keys.map do |name, (key, pem)|
      issued = root.issue(name, names: ["DNS:#{name}.example"], key: key)
      File.write(issued.key, pem) if pem
      issued.query
    end
    serve(config, "-b", "ssl://127.0.0.1:0?#{pairs.join("&")}", via: :configured)

    keys.each_key do |name|
      %i[TLS1_2_VERSION TLS1_3_VERSION].each do |version|
        it "is served: #{name}, #{version}" do
          limits = { min_version: OpenSSL::SSL.const_get(version), max_version: OpenSSL::SSL.const_get(version) }
          connection = connect(name: "#{name}.example", **limits)
          expect(subject_of(connection)).to eq(name)
          expect(connection.write("GET / HTTP/1.0\r\n\r\n").read_to_end).to end_with("hello")
        end
      end
    end
  end

  describe "of an issuer that clients do not know" do
    leaf = middle.issue("leaf", names: %w[DNS:localhost])

    # Starts a server whose file has these certificates.
    def start_with(leaf, *issuers, config:)
      File.write("#{folder}/cert.pem", [leaf, *issuers].map { |one| one.certificate.to_pem }.join)
      start_app(config, "-b", "ssl://127.0.0.1:0?cert=#{folder}/cert.pem&key=#{leaf.key}", via: :configured)
    end

    { "with the issuer's behind it" => [middle], "with the root's as well" => [middle, root],
      "with those of issuers in the wrong order" => [root, middle] }.each do |how, issuers|
      it "is accepted by clients #{how}" do
        start_with(leaf, *issuers, config: config)
        expect(connect.tls.peer_cert_chain.map { |one| one.subject.to_s }.first(2).last).to eq("/CN=#{issuers.first == root ? "Spec" : "Middle"} CA")
      end
    end

    it "is served without the issuer's, and not accepted" do
      start_with(leaf, config: config)
      expect { connect }.to raise_error(OpenSSL::SSL::SSLError, /unable to get (local )?issuer certificate|unable to verify/)
      expect(connect(verify: false).tls.peer_cert.to_der).to eq(leaf.certificate.to_der)
    end
  end

  describe "that is not valid now" do
    day = 86_400
    now = Time.now
    good = root.issue("good", names: %w[DNS:localhost])
    expired = root.issue("expired", names: %w[DNS:localhost], from: now - (2 * day), to: now - day)
    early = root.issue("early", names: %w[DNS:localhost], from: now + day, to: now + (9 * day))
    soon = root.issue("soon", names: %w[DNS:localhost], from: now - (80 * day), to: now + day)

    def use(issued)
      %i[cert key].each do |kind|
        FileUtils.cp(issued[kind], "#{folder}/new")
        File.rename("#{folder}/new", "#{folder}/#{kind}.pem")
      end
    end

    def warnings = app.lines.grep(/warn: .*the certificate in/)

    [[], ["-w", "2"]].each do |more|
      it "is served, and the log says so once#{", with workers" if more.any?}" do
        use(expired)
        start_app(config, "-b", "ssl://127.0.0.1:0?cert=#{folder}/cert.pem&key=#{folder}/key.pem", *more, via: :configured)
        date = expired.certificate.not_after.utc.strftime("%F %T UTC")
        expect_line(/warn: .*the certificate in #{folder}.cert\.pem for expired has expired on #{date}: clients refuse it$/)
        expect(subject_of(connect(verify: false))).to eq("expired")
        expect { connect }.to raise_error(OpenSSL::SSL::SSLError, /certificate has expired/)
        use(early)
        expect_line(/for early is not valid before .*: clients refuse it until then$/)
        use(soon)
        expect_line(/for soon expires on .* UTC$/)
        use(good)
        expect_eventually("the good one") { subject_of(connect(verify: false)) == "good" }
        expect(warnings.size).to eq(3)
        expect(app.output).not_to include("error:")
      end
    end
  end
end
