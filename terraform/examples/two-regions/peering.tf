# The control plane in eu works on servers in us; the app in us reads its routes from the control plane in eu.
# Databases of eu have no way to us at all.

resource "aws_vpc_peering_connection" "this" {
  vpc_id      = module.eu.network.vpc_id
  peer_vpc_id = module.us.network.vpc_id
  peer_region = local.aws_regions.us
  tags        = { Name = "fleet-eu-us" }
}

resource "aws_vpc_peering_connection_accepter" "this" {
  provider                  = aws.us
  vpc_peering_connection_id = aws_vpc_peering_connection.this.id
  auto_accept               = true
  tags                      = { Name = "fleet-eu-us" }
}

resource "aws_route" "from_eu" {
  for_each                  = module.eu.network.private_route_table_ids
  route_table_id            = each.value
  destination_cidr_block    = local.cidrs.us
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.this.vpc_peering_connection_id
}

resource "aws_route" "from_us" {
  provider                  = aws.us
  for_each                  = merge(module.us.network.private_route_table_ids, { databases = module.us.region.database_route_table_id })
  route_table_id            = each.value
  destination_cidr_block    = local.cidrs.eu
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.this.vpc_peering_connection_id
}
